"""AIMNet2, SO3LR and ANI-1ccx as they are: docs/foreign.md says where to get them.

``TLPOT_AIMNET2`` is the ``.jpt`` file, ``TLPOT_SO3`` and ``TLPOT_ANI`` are the Pythons of their
environments, ``TLPOT_ANI_MODELS`` is the folder of the parameters.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from needs import missing

import tlpot
from tlpot.calculators import named_calculator
from tlpot.models import LIBRARY

pytestmark = pytest.mark.external
FACTORIES = str(Path(__file__).parents[2] / "benchmarks" / "foreign")


def place(variable):
    if variable not in os.environ:
        missing(variable, optional=True)
    return os.environ[variable]


ENGINES = {
    "aimnet2": lambda: f"torch:{place('TLPOT_AIMNET2')}",
    "so3lr": lambda: f"env:{place('TLPOT_SO3')} ase:factories:so3lr(reads_info=[charge])",
    "ani-1ccx": lambda: (
        f"env:{place('TLPOT_ANI')} ase:factories:ani(folder={place('TLPOT_ANI_MODELS')})"
    ),
}


@pytest.mark.parametrize("name", ENGINES)
def test_foreign_models_run_and_know_conformers(name, monkeypatch):
    paths = [FACTORIES, *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    calculator = named_calculator(ENGINES[name]())
    assert calculator.level == name
    assert calculator.engine.definition["licence"] == "MIT"
    energies = {}
    for kind in ("trans-butane", "isobutane"):  # isobutane is lower by 0.08 eV
        atoms = molecule(kind)
        atoms.calc = calculator
        energies[kind] = atoms.get_potential_energy()
    assert 0.0 < energies["trans-butane"] - energies["isobutane"] < 0.2
    force, step = atoms.get_forces()[0, 0], 0.01
    sides = []
    for shift in (step, -step):
        atoms.positions[0, 0] += shift
        sides.append(atoms.get_potential_energy())
        atoms.positions[0, 0] -= shift
    assert force == pytest.approx(-(sides[0] - sides[1]) / (2 * step), abs=0.1)
    assert np.isfinite(atoms.get_forces()).all()


def test_aimnet2_is_the_same_in_both_ways(monkeypatch):
    file, python = place("TLPOT_AIMNET2"), place("TLPOT_SO3")
    monkeypatch.setenv("PYTHONPATH", FACTORIES)
    atoms = molecule("CH3COCl")
    atoms.info["charge"] = 0
    forces = []
    for engine in (f"torch:{file}", f"env:{python} ase:factories:aimnet2(file={file})"):
        atoms.calc = named_calculator(engine)
        forces.append(atoms.get_forces())
    np.testing.assert_allclose(forces[0], forces[1], atol=1e-4)


@pytest.mark.parametrize("name", ENGINES)
def test_a_regressor_is_fitted_on_their_features(name, monkeypatch, tmp_path):
    paths = [FACTORIES, *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    engine, level = ENGINES[name](), "ccsd(t)/cbs(dt)"
    output = tmp_path / "m.safetensors"
    split = {"by": "random", "test": ["methanol"], "validation": 4, "train": 20}
    outcome = tlpot.finetune(
        engine, LIBRARY / "tlpot-qm.h5", level=level, strategy="frozen-gp", output=output,
        split=split, progress=False,
    )  # fmt: skip
    assert outcome.end.overall["energy_mae"] < 300.0
    assert outcome.potential.architecture.n_channels > 100
    assert outcome.potential.card.lineage_licence == "MIT"
    atoms = molecule("CH3OH")
    found = tlpot.predict(output, atoms, level=level, engine=engine)
    atoms.calc = named_calculator(engine)
    shift = outcome.potential.references(level)
    base = atoms.get_potential_energy() + sum(shift[z] for z in atoms.numbers)
    assert found.energy[0] == pytest.approx(base, abs=1.0)
