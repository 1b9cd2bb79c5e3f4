"""The examples of CONTRIBUTING.md work as they stand: as files of the package they do their job."""

import io
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tlpot.building import run_stages
from tlpot.building.config import FragmentSettings
from tlpot.building.stage import read_record
from tlpot.building.structures import Target, all_fragments, fragment_stage
from tlpot.calculators import FragmentCalculator, TLPotCalculator
from tlpot.data import open_dataset
from tlpot.energy import evaluate
from tlpot.engines import KINDS, parse_engine
from tlpot.engines.registry import EngineKind
from tlpot.errors import ConfigError
from tlpot.fragments import SCHEMES, choose_scheme
from tlpot.graph import build_graph
from tlpot.jobs import finetune, finetune_config
from tlpot.models import load, save
from tlpot.models.description import VERSIONS
from tlpot.models.model_file import FORMATS
from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.transfer import strategy
from tlpot.transfer.registry import STRATEGIES

PAGE = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', PAGE, re.DOTALL))


@pytest.fixture
def module(monkeypatch):
    """Makes a module of an example, as if its file were where it says."""

    def make(path):
        name = path.removesuffix(".py").replace("/", ".")
        made = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, made)
        exec(compile(EXAMPLES[path], path, "exec"), made.__dict__)
        return made

    return make


@pytest.mark.train
def test_a_strategy_is_a_file(module, monkeypatch, settings):
    kind = module("tlpot/transfer/two_rates.py").TwoRates
    monkeypatch.setitem(STRATEGIES, kind.name, kind)
    # made from the registry when tlpot is imported, which was before
    monkeypatch.setattr(
        sys.modules["tlpot.jobs.finetune_config"], "STRATEGY_NAMES", tuple(STRATEGIES)
    )
    with pytest.raises(ConfigError, match="share"):
        strategy("two-rates", share=0.0)
    chosen = {"name": "two-rates", "share": 0.5}
    outcome = finetune(finetune_config({**settings, "strategy": chosen}))
    assert outcome.potential.card.recipe["strategy"] == chosen
    potential = load(settings["parent"], device="cpu")
    rates = strategy(chosen).rates(potential, potential.levels[0])
    assert set(rates.values()) == {0.5, 1.0}


def test_an_engine_is_a_file(module):
    made = module("tlpot/engines/morse.py")
    kind = EngineKind(form="morse", summary="Morse pairs", module="tlpot.engines.morse")
    name = parse_engine("morse epsilon=2.0 r0=1.5", kinds={**KINDS, "morse": kind})
    engine = made.make_engine(name, None)
    pair = System.from_atoms(Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.5]]))
    found = engine.compute(pair, forces=True, log=io.StringIO())
    assert found.energy == pytest.approx(-2.0, abs=1e-3)  # ASE shifts it to end at the cutoff
    np.testing.assert_allclose(found.forces, 0.0, atol=1e-9)
    assert json.loads(json.dumps(engine.definition)) == {"engine": "morse", "epsilon": 2, "r0": 1.5}
    with pytest.raises(ConfigError, match="periodic"):
        engine.check([1], periodic=True)


def test_a_scheme_is_a_file(module, monkeypatch):
    kind = module("tlpot/fragments/schemes/ends.py").Ends
    monkeypatch.setitem(SCHEMES, kind.name, kind)
    assert isinstance(choose_scheme("ends", size=3), kind)
    atoms = build_peptide("AGAGA")
    energies = {}
    for name, scheme in {"mfcc": "mfcc", "ends": kind(), "all": kind(size=5)}.items():
        atoms.calc = FragmentCalculator(atoms, "tlpot-tiny", scheme, dtype="float64")
        energies[name] = atoms.get_potential_energy()
    atoms.calc = TLPotCalculator("tlpot-tiny", dtype="float64")
    assert energies["all"] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    assert energies["ends"] != pytest.approx(energies["mfcc"], abs=1e-6)


def test_a_layout_is_a_file(tmp_path):
    spec = tmp_path / "scans.yaml"
    spec.write_text(EXAMPLES["data_specs/scans.yaml"])
    with h5py.File(tmp_path / "x.h5", "w") as handle:
        group = handle.create_group("water")
        group["Z"], group["xyz"], group["q"] = [8, 1, 1], np.eye(3)[None], 0
        group["e_scf"], group["e_disp"], group["grad"] = [-75.0], [-0.5], np.ones((1, 3, 3))
    (frame,) = open_dataset(tmp_path / "x.h5", spec=spec).read([0])
    (labels,) = frame.labels.values()
    assert labels.energy == pytest.approx(-75.5 * 27.2114, rel=1e-5)
    assert labels.forces[0, 0] == pytest.approx(-51.4221, rel=1e-5)


def test_a_stage_is_a_file(module, tmp_path):
    stage = module("tlpot/building/census.py").census_stage()
    target = Target.of("AA", [build_peptide("AA")])
    chosen, scheme = FragmentSettings(), choose_scheme("mfcc")
    frames = all_fragments(chosen, [target], scheme)
    stages = [fragment_stage(chosen, "mfcc", [target], frames), stage]
    records = run_stages(stages, tmp_path)
    assert records["census"].facts["largest"] == max(len(atoms) for atoms in frames)
    assert read_record(tmp_path / "census") == records["census"]
    worked = []
    run_stages(stages, tmp_path, on_start=worked.append)
    assert not worked


def test_a_family_is_a_file(module, monkeypatch, tmp_path):
    for registry in (FORMATS, VERSIONS):
        monkeypatch.setitem(registry, "tlpot-pairs", None)  # undone after the test
    made = module("tlpot/models/pairs.py")
    model = made.PairPotential("toy", {1: -1.25, 8: -6.125}).double()
    graph = build_graph([System.from_atoms(molecule("H2O"))], model.cutoff)
    save(model, tmp_path / "pairs.safetensors")
    again = load(tmp_path / "pairs.safetensors", device="cpu")
    assert isinstance(again, made.PairPotential)
    one, two = (evaluate(m.at(), graph) for m in (model, again))
    assert one.energy.item() == two.energy.item() != 0.0
    assert one.forces.abs().max() > 0.1
    atoms = molecule("H2O")
    atoms.calc = TLPotCalculator(tmp_path / "pairs.safetensors")
    np.testing.assert_allclose(atoms.get_forces(), one.forces.detach().numpy(), atol=1e-9)
