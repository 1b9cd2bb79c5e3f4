"""From fragments to a file: provenance, interruption, refusals."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as g2
from ase.io import write
from needs import needs
from spring_molecule import Springs
from toys import E0

from tlpot.calculators import CalculatorFactory
from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError, OutputError, SimulationError
from tlpot.models import Ensemble, Potential, preset, save
from tlpot.sampling import (
    ModelView,
    SamplingReport,
    SamplingSettings,
    SamplingTarget,
    named_fragments,
    pairs,
    sample,
)
from tlpot.sampling.diversity import occupied, ramachandran
from tlpot.structures import build_peptide

made = []
SETTINGS = SamplingSettings(budget=8, pool=2.0, interval=5, window=2.0, temperatures=(200.0, 400.0))


def counted(atoms):
    made.append(atoms.get_chemical_formula())
    return Springs(atoms)


def failing(atoms):
    if "N" in atoms.get_chemical_formula():
        raise RuntimeError("no nitrogen today")
    return counted(atoms)


@pytest.fixture(autouse=True)
def _forget():
    made.clear()


def molecules(*names):
    return [SamplingTarget(name=name, atoms=g2(name)) for name in names]


def engine(factory=counted):
    return CalculatorFactory(factory=factory, level="toy")


def test_a_dataset_with_labels_and_provenance(tmp_path):
    anion = SamplingTarget(name="anion", atoms=build_peptide("A", c_cap="COO-"))
    fragments = [*molecules("CH3OH"), anion]
    out = tmp_path / "s.h5"
    samples = sample(fragments, out, SETTINGS, engine(), progress=False)
    data = open_dataset(out)
    assert len(data) == 16
    assert data.labelled("toy", "forces").all()
    by_name = {s.name: s for s in samples}
    for frame in data.read(range(16)):
        charge = {"CH3OH": 0, "anion": -1}[frame.group]
        assert frame.system.charge == charge
        atoms = by_name[frame.group].atoms.copy()
        start = next(f.atoms for f in fragments if f.name == frame.group)
        atoms.positions[:] = frame.system.positions
        atoms.calc = Springs(start)
        assert frame.labels["toy"].energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert np.allclose(frame.labels["toy"].forces, atoms.get_forces())
    methods = data.column("sample_method").astype(str)
    assert {"relaxed", "scan", "modes", "md"} >= set(methods) > {"md"}
    kelvin = data.column("sample_temperature")
    assert set(kelvin[methods == "md"]) <= {200.0, 400.0}
    assert np.isnan(kelvin[methods == "scan"]).all()
    assert (data.column("sample_step")[methods == "md"] % 5 == 0).all()
    assert "counted" in data.levels["toy"].definition
    assert not (tmp_path / "s.h5.parts").exists()


def test_an_interrupted_sampling_goes_on_and_ends_the_same(tmp_path):
    fragments = molecules("CH3OH", "NH3")
    with pytest.raises(RuntimeError, match="no nitrogen"):
        sample(fragments, tmp_path / "a.h5", SETTINGS, engine(failing), progress=False)
    assert not (tmp_path / "a.h5").exists()
    assert [p.name[:5] for p in (tmp_path / "a.h5.parts").iterdir()] == ["CH3OH"]
    # the part says which calculator made it
    with pytest.raises(OutputError, match="another sampling"):
        sample(fragments, tmp_path / "a.h5", SETTINGS, engine(), progress=False)
    made.clear()
    mended = [fragments[0], SamplingTarget(name="NH3", atoms=g2("H2O"))]
    sample(mended, tmp_path / "a.h5", SETTINGS, engine(failing), progress=False)
    assert made == ["H2O"]
    sample(mended, tmp_path / "b.h5", SETTINGS, engine(failing), progress=False)
    one, other = (open_dataset(tmp_path / name) for name in ("a.h5", "b.h5"))
    for a, b in zip(one.read(range(16)), other.read(range(16)), strict=True):
        assert np.array_equal(a.system.positions, b.system.positions)


def test_one_failure_in_a_pool_keeps_the_others(tmp_path):
    with ThreadPoolExecutor(2) as pool, pytest.raises(RuntimeError, match="no nitrogen"):
        sample(molecules("NH3", "H2O", "CH3OH"), tmp_path / "a.h5", SETTINGS, engine(failing),
               executor=pool, progress=False)  # fmt: skip
    kept = sorted(p.name.split(".")[0] for p in (tmp_path / "a.h5.parts").iterdir())
    assert kept == ["CH3OH", "H2O"]


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path):
    fragments = molecules("H2O", "CH3OH", "NH3")
    alone = sample(fragments, tmp_path / "a.h5", SETTINGS, engine(), progress=False)
    with ThreadPoolExecutor(3) as pool:
        shared = sample(fragments, tmp_path / "b.h5", SETTINGS, engine(), executor=pool,
                        progress=False)  # fmt: skip
    for one, other in zip(alone, shared, strict=True):
        assert one.name == other.name
        for a, b in zip(one.chosen, other.chosen, strict=True):
            assert np.array_equal(a.positions, b.positions)


def test_the_choice_by_uncertainty_takes_the_least_certain(tmp_path):
    sizes = preset("tiny", (1, 6, 8), hidden_irreps="4x0e", cutoff=3.0)
    members = [Potential.create(sizes, {"low": E0}, seed=k) for k in range(4)]
    save(Ensemble(members[:2]), tmp_path / "e.safetensors")
    common = {"methods": ("modes",), "budget": 4, "pool": 8.0, "window": 2.0}
    fragments = molecules("CH3OH")
    everything = sample(fragments, tmp_path / "a.h5", SamplingSettings(**common | {"budget": 32,
                        "pool": 1.0}), engine(), progress=False)[0]  # fmt: skip
    view = ModelView(str(tmp_path / "e.safetensors"))

    def doubt(samples):
        return view.uncertainty([c.placed(samples.atoms) for c in samples.chosen])

    settings = SamplingSettings(**common, select="uncertainty", model=view.name)
    (chosen,) = sample(fragments, tmp_path / "b.h5", settings, engine(), progress=False)
    assert len(chosen.chosen) == 4
    assert doubt(chosen).mean() > np.median(doubt(everything))
    assert doubt(chosen).max() == pytest.approx(doubt(everything).max(), rel=1e-6)


def test_a_damaged_part_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="no nitrogen"):
        sample(molecules("CH3OH", "NH3"), tmp_path / "a.h5", SETTINGS, engine(failing),
               progress=False)  # fmt: skip
    part = next((tmp_path / "a.h5.parts").iterdir())
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(DataError, match=r"CH3OH.*is damaged .* remove it"):
        sample(molecules("CH3OH"), tmp_path / "a.h5", SETTINGS, engine(failing), progress=False)


def test_files_are_not_overwritten_and_names_are_unique(tmp_path):
    out = tmp_path / "a.h5"
    out.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        sample(molecules("H2O"), out, SETTINGS, engine(), progress=False)
    assert out.read_text() == "mine"
    with pytest.raises(ConfigError, match="H2O occur twice"):
        sample(molecules("H2O", "H2O"), tmp_path / "b.h5", SETTINGS, engine(), progress=False)
    with pytest.raises(ConfigError, match="level of theory of your calculator"):
        sample(molecules("H2O"), tmp_path / "b.h5", SETTINGS, CalculatorFactory(factory=counted),
               progress=False)  # fmt: skip


def test_a_structure_that_falls_apart_is_said(tmp_path):
    def loose(atoms):
        return Springs(Atoms("OH2", atoms.positions * 2.0))

    with pytest.raises(SimulationError, match="H2O: the bonds change"):
        sample(molecules("H2O"), tmp_path / "a.h5", SETTINGS, engine(loose), progress=False)


def test_high_energies_are_left_out_and_counted(tmp_path):
    settings = SamplingSettings(budget=8, pool=2.0, interval=5, window=0.02, methods=("modes",))
    (found,) = sample(molecules("CH3OH"), tmp_path / "a.h5", settings, engine(), progress=False)
    energies = [c.energy for c in found.chosen]
    assert max(energies) - min(energies) <= 0.02 * 6
    assert found.counts["lost: energy"] > 0


def test_a_choice_covers_the_pool_better_than_chance(tmp_path):
    (found,) = sample(molecules("CH3OH"), tmp_path / "a.h5", SETTINGS, engine(), progress=False)
    assert found.radius < found.random_radius


def test_named_fragments_files_and_pairs(tmp_path):
    write(tmp_path / "two.xyz", [g2("H2O"), g2("CH4")])
    write(tmp_path / "one.xyz", g2("NH3"))
    names = ["ACE-HIP-NME", "H2O", str(tmp_path / "two.xyz"), str(tmp_path / "one.xyz")]
    found = named_fragments(names)
    assert [f.name for f in found] == ["ACE-HIP-NME", "H2O", "two-0", "two-1", "one"]
    assert found[0].atoms.info["charge"] == 1
    assert len(named_fragments(["residues"])) == 21
    assert len(named_fragments(["states"])) == 28
    (pair,) = pairs(["ACE-HIP-NME+NH3"], found)
    assert pair.name == "ACE-HIP-NME+NH3"
    assert pair.atoms.info["charge"] == 1
    with pytest.raises(ConfigError, match="did you mean 'residues'"):
        named_fragments(["residue"])
    with pytest.raises(ConfigError, match="a pair is NAME"):
        pairs(["H2O"], found)
    with pytest.raises(ConfigError, match="a pair needs one"):
        pairs(["residues+H2O"], found)


def test_dimers_are_sampled_from_relaxed_partners(tmp_path):
    pair = SamplingTarget.pair(*molecules("H2O", "CH3OH"))
    (found,) = sample([pair], tmp_path / "a.h5", SETTINGS, engine(), progress=False)
    assert found.name == "H2O+CH3OH"
    assert {c.method for c in found.chosen} == {"dimer"}
    assert open_dataset(tmp_path / "a.h5").group_names == ("H2O+CH3OH",)


def test_the_report_counts_cells_and_methods_and_draws(tmp_path):
    settings = SamplingSettings(budget=20, pool=1.0, window=9.0, methods=("scan",))
    fragments = [SamplingTarget(name="ALA", atoms=build_peptide("A")), *molecules("CH3OH")]
    samples = sample(fragments, tmp_path / "a.h5", settings, engine(), progress=False)
    assert [c.method for c in samples[1].chosen] == ["relaxed"]  # it has nothing to turn
    report = SamplingReport.of(samples, tmp_path / "a.h5", "springs")
    rows = report.rows
    angles = ramachandran(samples[0])
    assert rows[0].cells == occupied(angles)
    assert 0.08 < rows[0].cells <= 20 / 144
    assert sum(rows[0].methods.values()) == 20
    assert rows[0].methods["scan"] >= 19
    assert rows[1].cells is None
    assert f"{rows[0].cells:.0%}" in str(report)
    assert report.plot(tmp_path / "a.png") is not None
    assert (tmp_path / "a.png").stat().st_size > 5000
    without = SamplingReport.of(samples[1:], tmp_path / "a.h5", "springs")
    assert without.plot(tmp_path / "b.png") is None
    assert not (tmp_path / "b.png").exists()


def test_cells_of_a_ramachandran_plot():
    assert occupied(np.array([[-180.0, 180.0], [180.0, -180.0], [10.0, 20.0]])) == 2 / 144


def test_settings_are_in_the_file(tmp_path):
    import h5py

    sample(molecules("H2O"), tmp_path / "a.h5", SETTINGS, engine(), progress=False)
    with h5py.File(tmp_path / "a.h5") as file:
        assert json.loads(file.attrs["sampling"])["budget"] == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("mdd",)}, "unknown method 'mdd'; did you mean 'md'"),
        ({"methods": ()}, "expected one or more"),
        ({"select": "uncertain"}, "did you mean 'uncertainty'"),
        ({"select": "uncertainty"}, "needs a model"),
        ({"level": "x"}, "level applies to selection by uncertainty"),
        ({"temperatures": ()}, "need a temperature"),
        ({"temperatures": (-5.0,)}, "expected K above 0"),
        ({"budget": 0}, "budget is 0"),
        ({"pool": 0.5}, "pool is 0.5"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        SamplingSettings(**settings)


def test_gfn2_charges_reach_the_program():
    needs("tblite")
    atoms = build_peptide(["LYS"])
    calculator = CalculatorFactory().calculator(atoms)
    assert calculator.parameters.charge == 1
    with pytest.raises(ConfigError, match="did you mean 'gfn2-xtb'"):
        CalculatorFactory.of("gfn3-xtb")
    with pytest.raises(ConfigError, match="does not apply"):
        CalculatorFactory(level="x").label_level  # noqa: B018
