"""The fragment calculator on periodic structures: stress, engines of the whole cell, dynamics."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.fd import calculate_numerical_stress
from ase.io import read, write
from needs import needs
from toys import ToyModel

from tlpot.calculators import FragmentCalculator, TLPotCalculator
from tlpot.dynamics import MDSettings, run_md
from tlpot.energy import evaluate
from tlpot.errors import ConfigError, TLPotError
from tlpot.graph import build_graph, segment_sum
from tlpot.models import CalculatorModel
from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.topology import Lattice

MODEL = ToyModel(elements=(1, 6, 7, 8), cutoff=3.5)
CELL = np.array([[5.9, 0.0, 0.0], [1.6, 5.6, 0.0], [0.7, -1.1, 6.0]])


class ToyEngine(Calculator):
    """The toy model as an ASE calculator that takes cells, in the place of a program."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        inner = TLPotCalculator(MODEL)
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        inner.calculate(bare, [p for p in properties if p in ("stress",)])
        self.results = dict(inner.results)


class Stressless(ToyEngine):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012


@dataclass(frozen=True, kw_only=True)
class Stiff:
    """A toy whose molecules stay whole: −3 exp(−(2 (r − d))²) (1 − (r/R)²)⁴, d as in water."""

    cutoff: float = 6.0
    elements: tuple[int, ...] = (1, 8)
    uses_charge: bool = False

    def atomic_energies(self, graph):
        distances = torch.linalg.vector_norm(graph.edge_vectors(), dim=1)
        oxygens = (graph.atomic_numbers == 8).long()
        lengths = torch.tensor([1.52, 0.96, 2.8], dtype=torch.float64)
        lengths = lengths[oxygens[graph.center] + oxygens[graph.neighbor]]
        near = (1.0 - (distances / self.cutoff) ** 2).clamp(min=0.0) ** 4
        energies = -3.0 * torch.exp(-4.0 * (distances - lengths) ** 2) * near
        return 0.5 * segment_sum(energies, graph.center, graph.n_atoms)


@pytest.fixture
def box() -> Atoms:
    """Three waters, wrapped into a skewed cell."""
    one = np.array([[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]])
    places = np.array([[0.2, 0.3, -0.2], [2.9, 2.5, 0.4], [1.5, 0.6, 3.2]])
    atoms = Atoms("OH2" * 3, (places[:, None] + one).reshape(-1, 3), cell=CELL, pbc=True)
    atoms.rattle(0.05, seed=1)
    atoms.wrap()
    return atoms


def test_stress_is_that_of_the_energy(box):
    box.calc = FragmentCalculator(box, MODEL, "mfcc_mbe2", low=ToyModel(cutoff=4.0))
    found = box.get_stress()
    box.calc = FragmentCalculator(box, MODEL, "mfcc_mbe2", low=ToyModel(cutoff=4.0))
    numeric = calculate_numerical_stress(box, eps=1e-5)
    np.testing.assert_allclose(found, numeric, rtol=1e-6, atol=1e-8)
    assert np.abs(found).max() > 1e-3


def test_without_a_volume_stress_is_refused_as_by_other_calculators():
    atoms = build_peptide("AG")
    atoms.calc = FragmentCalculator(atoms, MODEL, "mfcc")
    expected = Atoms("CO", [[0, 0, 0], [1.1, 0, 0]], calculator=TLPotCalculator(MODEL))
    with pytest.raises(TLPotError) as other:
        expected.get_stress()
    with pytest.raises(type(other.value), match="three lattice vectors"):
        atoms.get_stress()
    atoms.get_forces()


@pytest.mark.parametrize("scheme", ["direct", "mfcc", "mfcc_mbe2", "gmfcc", "sphere"])
def test_an_engine_of_the_whole_cell_is_the_same_model_in_another_way(box, scheme):
    """Energy, forces and stress of an ASE calculator as low level."""
    results = []
    for low in (MODEL, ToyEngine(), lambda atoms: ToyEngine()):
        settings = {} if scheme == "direct" else {"low": low}
        high = low if scheme == "direct" else ToyModel(cutoff=3.0)
        box.calc = FragmentCalculator(box, high, scheme, **settings)
        assert "stress" in box.calc.implemented_properties
        results.append((box.get_potential_energy(), box.get_forces(), box.get_stress()))
    for found in results[1:]:
        for one, other in zip(found, results[0], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


def test_an_engine_without_stress_says_so(box):
    box.calc = FragmentCalculator(box, MODEL, "mfcc", low=Stressless())
    box.get_forces()
    assert "stress" not in box.calc.implemented_properties
    with pytest.raises(PropertyNotImplementedError):
        box.get_stress()
    box.calc = FragmentCalculator(box, MODEL, "mfcc", low=lambda atoms: Stressless())
    with pytest.raises(ConfigError, match=r"Stressless lacks .*stress"):
        box.get_stress()
    box.calc = FragmentCalculator(box, Stressless(), "mfcc_mbe2")  # of fragments none is needed
    assert np.isfinite(box.get_stress()).all()


def test_an_engine_gets_the_periodic_directions_of_the_structure(box):
    seen = []

    class Seeing(ToyEngine):
        def calculate(self, atoms=None, *args, **settings):
            seen.append(tuple(atoms.pbc.tolist()))
            super().calculate(atoms, *args, **settings)

    for pbc in ((True, True, False), (False, False, True), (True, True, True)):
        box.pbc = pbc
        model = CalculatorModel(Seeing())
        whole = evaluate(model, build_graph([System.from_atoms(box)], 1.0))
        box.calc = TLPotCalculator(MODEL)
        np.testing.assert_allclose(whole.forces, box.get_forces(), atol=1e-9)
        assert set(seen) == {pbc}
        seen.clear()


@pytest.mark.parametrize(
    ("name", "package", "kind", "settings"),
    [
        ("d3bj:pbe", "dftd3", "DFTD3", {"method": "pbe", "damping": "d3bj"}),
        pytest.param("d4:pbe", "dftd4", "DFTD4", {"method": "pbe"}, marks=pytest.mark.external),
    ],
)
def test_dispersion_is_that_of_the_whole_cell(box, name, package, kind, settings):
    module = needs(f"{package}.ase")
    box.calc = getattr(module, kind)(**settings)
    expected = box.get_stress(), box.get_forces(), box.get_potential_energy()
    found = []
    for dispersion in (name, None):
        box.calc = FragmentCalculator(box, MODEL, "mfcc", dispersion=dispersion)
        found.append((box.get_stress(), box.get_forces(), box.get_potential_energy()))
    for k, tolerance in enumerate((1e-8, 1e-8, 1e-9)):
        np.testing.assert_allclose(found[0][k] - found[1][k], expected[k], atol=tolerance)


def test_charges_are_refused_before_anything_is_done(box):
    for settings in ({"scheme": "ai2bmd"}, {"charges": "amber"}, {"charges": np.zeros(9)}):
        with pytest.raises(ConfigError, match=r"in vacuum.*mfcc in place of ai2bmd"):
            FragmentCalculator(box, MODEL, **{"scheme": "mfcc", **settings})


def test_the_hessian_is_periodic(box):
    box.calc = FragmentCalculator(box, MODEL, "mfcc_mbe2")
    matrix = box.calc.get_hessian(box)
    moved, h = box.copy(), 1e-4
    moved.calc = FragmentCalculator(box, MODEL, "mfcc_mbe2")
    forces = []
    for sign in (1, -1):
        moved.positions[4] = box.positions[4] + [0.0, sign * h, 0.0]
        forces.append(moved.get_forces().ravel())
    np.testing.assert_allclose(matrix[13], -(forces[0] - forces[1]) / (2 * h), atol=1e-5)


@pytest.mark.parametrize("low", [None, MODEL])
def test_constant_pressure_moves_the_cell_towards_it(box, tmp_path, low):
    volumes = {}
    for pressure in (-2e4, 2e4):
        settings = MDSettings(ensemble="npt", steps=20, pressure=pressure, temperature=10.0)
        calculator = FragmentCalculator(box, MODEL, "mfcc_mbe2", low=low)
        path = tmp_path / str(pressure)
        frames = read(run_md(box, calculator, settings, path, progress=False).trajectory, index=":")
        volumes[pressure] = frames[-1].get_volume()
    assert volumes[-2e4] > volumes[2e4] + 0.1


def test_constant_pressure_without_stress_is_refused(box, tmp_path):
    calculator = FragmentCalculator(box, MODEL, "mfcc", low=Stressless())
    settings = MDSettings(ensemble="npt", steps=2)
    with pytest.raises(ConfigError, match="npt needs stress"):
        run_md(box, calculator, settings, tmp_path / "x", progress=False)


def test_energy_is_conserved_while_molecules_cross_the_boundary(box, tmp_path):
    """All drift along, shaking; the lists of fragments change on the way."""
    rng = np.random.default_rng(0)
    velocities = np.array([0.3, 0.2, -0.25]) + 0.05 * rng.normal(size=(len(box), 3))
    box.set_velocities(velocities)
    settings = MDSettings(ensemble="nve", steps=60, timestep=0.4, log_every=5)
    calculator = FragmentCalculator(box, Stiff(), "mfcc_mbe2")
    result = run_md(box, calculator, settings, tmp_path / "x", progress=False)
    images = {np.floor(f.get_scaled_positions(wrap=False)).tobytes()
              for f in read(result.trajectory, index=":")}  # fmt: skip
    assert len(images) > 3
    prepared = calculator.force_field.prepared(
        box.numbers.astype(np.int64), result.atoms.positions, Lattice.of(System.from_atoms(box))
    )
    assert prepared.n_lists > 3
    totals, potential = (
        np.ptp([getattr(s, name) for s in result.samples]) for name in ("total", "potential")
    )
    assert potential > 0.05
    assert totals < 0.02 * potential


def test_the_command_line_lists_and_evaluates_a_box(box, tmp_path, capsys, monkeypatch):
    from tlpot.cli import main

    monkeypatch.chdir(tmp_path)
    write("box.xyz", box, format="extxyz")
    assert main(["fragment", "box.xyz", "--scheme", "mfcc_mbe2"]) == 0
    text = capsys.readouterr().out
    assert "HOH+HOH" in text
    assert "9 atoms, 6 bonds and charge 0 count once each" in text
    assert main(["fragment", "box.xyz", "--export", "f.xyz"]) == 0
    dimers = [m for m in read("f.xyz", index=":") if len(m) == 6]
    assert dimers
    for dimer in dimers:  # each with its own image of the second molecule
        apart = np.linalg.norm(dimer.positions[:3, None] - dimer.positions[None, 3:], axis=2)
        assert apart.min() < 5.0
    assert main(["fragment", "box.xyz", "--export", "f.h5"]) == 2
    assert "no cells" in capsys.readouterr().err


def test_an_error_budget_is_refused(box):
    from tlpot.reports import measure_budget

    whole, pieces = (FragmentCalculator(box, MODEL, scheme) for scheme in ("direct", "mfcc"))
    with pytest.raises(ConfigError, match="a frame is periodic"):
        measure_budget([box], whole=whole, fragments=pieces)
