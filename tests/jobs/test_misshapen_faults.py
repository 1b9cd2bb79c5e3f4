"""An ASE calculator whose forces are not those of the atoms, in every job that asks for them."""

import pytest
from ase.build import molecule
from label_toys import Misshapen

import tlpot
from tlpot.calculators import FragmentCalculator, named_calculator
from tlpot.engines import LabelError
from tlpot.errors import GeometryError, SimulationError
from tlpot.structures import build_peptide

pytestmark = pytest.mark.fault

JOBS = {
    "md": lambda atoms, model, out: tlpot.md(atoms, model, output=out, steps=2),
    "relax": lambda atoms, model, out: tlpot.relax(atoms, model),
    "frequencies": lambda atoms, model, out: tlpot.frequencies(atoms, model, allow_forces=True),
}


@pytest.mark.parametrize("form", ["first", "short", "flat"])
@pytest.mark.parametrize("job", JOBS)
def test_a_job_refuses_it_in_a_line_and_writes_nothing(tmp_path, job, form):
    water = molecule("H2O")
    for model, error in (
        (Misshapen(form), SimulationError),
        (named_calculator(f"ase:label_toys:Misshapen(form={form})"), LabelError),
    ):
        with pytest.raises(error, match=r"forces of shape \(.*\), expected \(3, 3\)") as found:
            JOBS[job](water, model, tmp_path / "run")
        assert "\n" not in str(found.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["first", "column", "short"])
def test_so_do_fragments(form):
    peptide = build_peptide("A")
    peptide.calc = FragmentCalculator(peptide, Misshapen(form), "direct")
    with pytest.raises(GeometryError, match=r"Misshapen gives forces of shape .*expected \(22, 3"):
        peptide.get_forces()


def test_so_do_energies_that_are_one_for_each_atom():
    with pytest.raises(SimulationError, match=r"energy of shape \(3,\), expected one number"):
        tlpot.relax(molecule("H2O"), Misshapen("energies"))
