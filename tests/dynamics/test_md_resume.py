"""Resuming dynamics: only what the run was started with goes on with it."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from toys import E0, ToyModel

from tlpot.calculators import DeltaCalculator, FragmentCalculator, TLPotCalculator
from tlpot.dynamics import MDSettings, run_md
from tlpot.errors import ConfigError, DataError
from tlpot.fragments import Dimers
from tlpot.models import Potential, identity, preset

NVE = MDSettings(ensemble="nve", steps=40, log_every=10)


def toy() -> TLPotCalculator:
    return TLPotCalculator(ToyModel())


def run(out, settings=NVE, atoms=None, calculator=None, **options):
    atoms = molecule("CH3OH") if atoms is None else atoms
    return run_md(atoms, calculator or toy(), settings, out, progress=False, **options)


class Screened(Calculator):
    """A toy without forces to speak of, and with a parameter, as ASE keeps it."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    default_parameters = {"screening": 1.0}  # noqa: RUF012

    def calculate(self, atoms: Atoms | None = None, *args, **options):
        super().calculate(atoms, *args, **options)
        self.results = {"energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}


def shifted_model(**changes):
    sizes = preset("tiny", (1, 6, 8), hidden_irreps="2x0e+2x1o", cutoff=3.0)
    return Potential.create(sizes, {"low": E0, "high": E0}, scale=0.01, **changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ensemble": "langevin"}, "settings.ensemble was 'nve', is 'langevin'"),
        ({"timestep": 0.25}, "settings.timestep was 0.5, is 0.25"),
        ({"temperature": 600.0}, "settings.temperature was 300.0, is 600.0"),
        ({"friction": 1.0}, "settings.friction was 10.0, is 1.0"),
        ({"pressure": 5.0}, "settings.pressure was 1.0, is 5.0"),
        ({"seed": 3}, "settings.seed was 0, is 3"),
        ({"log_every": 5}, "settings.log_every was 10, is 5"),
    ],
)
def test_a_run_is_not_resumed_with_another_setting(tmp_path, changes, named):
    run(tmp_path / "x", MDSettings(ensemble="nve", steps=10))
    before = (tmp_path / "x.xyz").read_bytes()
    settings = MDSettings(**{"ensemble": "nve", "steps": 20, **changes})
    with pytest.raises(ConfigError) as caught:
        run(tmp_path / "x", settings, resume=True)
    assert f"{tmp_path / 'x.xyz'} was run with something else: {named}. Resume" in str(caught.value)
    assert "its length" in str(caught.value)
    assert (tmp_path / "x.xyz").read_bytes() == before


@pytest.mark.parametrize(
    ("calculator", "named"),
    [
        (TLPotCalculator(shifted_model(seed=1), level="low"), "calculator.weights was"),
        (TLPotCalculator(shifted_model(), level="high"), "calculator.level was 'low', is 'high'"),
        (
            TLPotCalculator(shifted_model(), level="low", dtype="float64"),
            "something else: calculator.dtype was 'float32', is 'float64'. Resume",
        ),
        (toy(), "calculator.kind was not set, is 'toys.ToyModel'"),
    ],
)
def test_a_run_is_not_resumed_with_another_model(tmp_path, calculator, named):
    started = TLPotCalculator(shifted_model(), level="low")
    run(tmp_path / "x", MDSettings(ensemble="nve", steps=2), calculator=started)
    with pytest.raises(ConfigError, match=named):
        run(tmp_path / "x", calculator=calculator, resume=True)
    # the same weights in another object, as a second process has them
    again = TLPotCalculator(shifted_model(), level="low", skin=1.0)
    assert run(tmp_path / "x", calculator=again, resume=True).samples[-1].step == 40


def test_a_run_is_not_resumed_with_another_calculator_of_ase_or_state(tmp_path):
    start = MDSettings(ensemble="nve", steps=10)
    run(tmp_path / "x", start, calculator=Screened())
    other = Screened()
    other.parameters["screening"] = 2.0
    with pytest.raises(ConfigError, match=r"parameters.screening was 1.0, is 2.0"):
        run(tmp_path / "x", calculator=other, resume=True)
    charged = molecule("CH3OH")
    charged.info["charge"] = 1
    charged.set_constraint(FixAtoms([0]))
    with pytest.raises(ConfigError, match=r"structure.charge was 0, is 1; structure.constraints"):
        run(tmp_path / "x", calculator=Screened(), atoms=charged, resume=True)


def test_a_run_without_a_record_of_its_setup_is_not_resumed(tmp_path):
    run(tmp_path / "x", MDSettings(ensemble="nve", steps=10))
    setup = tmp_path / "x.setup.json"
    setup.write_text("{")
    with pytest.raises(DataError, match=r"x.setup.json is damaged"):
        run(tmp_path / "x", resume=True)
    setup.unlink()
    before = (tmp_path / "x.xyz").read_bytes()
    with pytest.raises(DataError, match=r"x.setup.json, .* is not there .* another --output"):
        run(tmp_path / "x", resume=True)
    assert (tmp_path / "x.xyz").read_bytes() == before


def test_fragments_and_deltas_are_known_by_their_parts():
    atoms = molecule("CH3CH2OH")
    model, other = ToyModel(), ToyModel(cutoff=3.0)
    assert identity(FragmentCalculator(atoms, model)) == identity(FragmentCalculator(atoms, model))
    assert identity(FragmentCalculator(atoms, model)) != identity(FragmentCalculator(atoms, other))
    mbe = [
        FragmentCalculator(atoms, model, Dimers(outer=outer), low=low)
        for outer, low in ((5.0, None), (6.0, None), (5.0, other), (5.0, model))
    ]
    assert len({json.dumps(identity(one)) for one in mbe}) == 4
    sizes = preset("tiny", (1, 6, 8), hidden_irreps="2x0e+2x1o", cutoff=3.0)
    deltas = [Potential.create(sizes, {"high - low": E0}, seed=seed) for seed in (0, 0, 1)]
    found = [identity(DeltaCalculator(low=Screened(), delta=delta)) for delta in deltas]
    assert found[0] == found[1] != found[2]
    assert found[0]["low"]["kind"] == "test_md_resume.Screened"
