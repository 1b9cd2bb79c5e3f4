"""Sampling from SMILES by MMFF94: conformers, dynamics, noise, relaxations and complexes."""

import json

import h5py
import numpy as np
import pytest
from needs import needs
from spring_molecule import Springs

import tlpot
from tlpot.building.labels import sampling_settings
from tlpot.calculators import CalculatorFactory
from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError, GeometryError, SimulationError, TLPotWarning
from tlpot.sampling import (
    SamplingSettings,
    SamplingTarget,
    given_fragments,
    named_fragments,
    pairs,
    sample,
)
from tlpot.sampling.scans import dimer, in_contact, separated
from tlpot.sampling.thermal_motion import displaced, downhill
from tlpot.structures import smiles_atoms
from tlpot.topology import MolecularGraph

MMFF = CalculatorFactory(name="mmff94")
CHEAP = {"methods": ("etkdg", "md", "noise"), "temperatures": "200-600", "pool": 1.0}


@pytest.fixture(autouse=True)
def _rdkit():
    needs("rdkit")


def test_a_file_with_charges_smiles_and_bonds(tmp_path):
    settings = SamplingSettings(budget=12, interval=10, **CHEAP)
    fragments = named_fragments(["CC(=O)[O-]", "F/C=C/F"])
    sample(fragments, tmp_path / "s.h5", settings, MMFF, progress=False)
    data = open_dataset(tmp_path / "s.h5")
    assert {f.group: f.system.charge for f in data.read(range(len(data)))} == {
        "CC(=O)[O-]": -1, "F|C=C|F": 0,
    }  # fmt: skip
    assert data.labelled("mmff94", "forces").all()
    methods = set(data.column("sample_method").astype(str))
    assert {"md", "noise"} <= methods <= {"relaxed", "etkdg", "md", "noise"}
    kelvin = data.column("sample_temperature")
    drawn = kelvin[np.isfinite(kelvin)]
    assert len(set(drawn)) > 1
    assert drawn.min() > 200
    assert drawn.max() < 600
    with h5py.File(tmp_path / "s.h5") as file:
        group = file["F|C=C|F"]
        assert group.attrs["smiles"] == "F/C=C/F"
        assert group.attrs["bonds"].shape == (5, 2)
        assert json.loads(file.attrs["sampling"])["temperatures"] == "200-600"


def test_dynamics_of_mmff94_keeps_every_bond_and_forces_are_those_of_its_energy(tmp_path):
    settings = SamplingSettings(budget=20, interval=10, **CHEAP)
    (found,) = sample(
        named_fragments(["CC(=O)NC"]), tmp_path / "s.h5", settings, MMFF, progress=False
    )
    graph = MolecularGraph(found.atoms)
    for each in found.chosen:
        placed = each.placed(found.atoms)
        assert graph.intact(placed)
        placed.calc = MMFF.calculator(found.atoms)
        assert placed.get_potential_energy() == pytest.approx(each.energy, abs=1e-9)
        assert np.allclose(placed.get_forces(), each.forces, atol=1e-9)


def test_all_starts_of_conformers_are_used_and_the_number_of_conformers_is_kept(tmp_path):
    settings = SamplingSettings(budget=30, interval=5, conformers=4, **CHEAP)
    (found,) = sample(named_fragments(["OCCCO"]), tmp_path / "s.h5", settings, MMFF, progress=False)
    assert 1 < found.counts["etkdg"] <= 4
    assert found.counts["md"] + found.counts["noise"] >= 26
    seeds = {c.seed for c in found.chosen if c.method == "md"}
    assert len(seeds) >= found.counts["etkdg"]


def test_noise_has_a_width_of_its_own_for_each_geometry():
    atoms = smiles_atoms("CCCCO")
    found = displaced([atoms], 60, 0.08, seed=2)
    widths = [np.std(c.positions - atoms.positions) for c in found]
    assert 0.015 < min(widths) < 0.03 < 0.07 < max(widths) < 0.1


def test_going_downhill_lowers_energies_and_does_not_arrive():
    atoms = smiles_atoms("CCO")
    calculator = MMFF.calculator(atoms)
    rough = displaced([atoms], 12, 0.1, seed=4)
    found = downhill(rough, atoms, calculator, 6, seed=1)
    energies = [[c.evaluated(atoms, calculator).energy for c in some] for some in (rough, found)]
    assert (np.array(energies[1]) < np.array(energies[0])).all()
    forces = [c.evaluated(atoms, calculator).forces for c in found]
    assert max(np.abs(f).max() for f in forces) > 0.05


def test_another_engine_takes_geometries_downhill(tmp_path):
    needs("tblite")
    settings = SamplingSettings(
        budget=4, methods=("downhill",), downhill="gfn2-xtb", downhill_steps=40, pool=1.0
    )
    (found,) = sample(named_fragments(["OC=O"]), tmp_path / "s.h5", settings, MMFF, progress=False)
    assert found.counts["downhill"] == 4
    gfn2 = CalculatorFactory().calculator(found.atoms)
    relaxed = [c.placed(found.atoms) for c in found.chosen if c.method == "downhill"]
    for frame in relaxed:
        frame.calc = gfn2
    assert min(np.abs(frame.get_forces()).max() for frame in relaxed) < 0.02


def test_contact_is_that_of_the_nearest_pair_and_molecules_stay_whole():
    parts = [smiles_atoms(s) for s in ("c1ccccc1", "CC(=O)NC", "C[NH3+]")]
    joined = dimer(*parts)
    assert joined.info["charge"] == 1
    assert joined.info["smiles"] == "c1ccccc1.CC(=O)NC.C[NH3+]"
    graph = MolecularGraph(joined)
    pieces = graph.pieces
    for seed in range(6):
        joined.set_positions(in_contact([p.positions for p in parts], joined.numbers, seed))
        assert graph.intact(joined)
        assert not graph.overlaps(joined)
        lengths = joined.get_all_distances()
        for piece, part in zip(pieces, parts, strict=True):
            assert np.allclose(lengths[np.ix_(piece, piece)], part.get_all_distances())


def test_stacking_makes_no_mirror_images():
    one = smiles_atoms("N[C@@H](C)C(=O)O")

    def volume(x):
        return np.dot(np.cross(x[0] - x[1], x[3] - x[1]), x[2] - x[1])

    numbers = np.tile(one.numbers, 2)
    for seed in range(12):
        found = in_contact([one.positions, one.positions], numbers, seed)
        assert volume(found[: len(one)]) == pytest.approx(volume(one.positions))
        assert volume(found[len(one) :]) == pytest.approx(volume(one.positions))


def test_molecules_are_moved_along_the_line_of_their_centres():
    pair = dimer(smiles_atoms("O"), smiles_atoms("CC(=O)[O-]"), apart=4.0)
    pieces = MolecularGraph(pair).pieces
    found = separated([pair], pieces, 200, (-0.4, 4.0), seed=0)
    shifts = []
    for each in found:
        centres = [each.positions[list(p)].mean(0) for p in pieces]
        usual = [pair.positions[list(p)].mean(0) for p in pieces]
        line = (usual[1] - usual[0]) / np.linalg.norm(usual[1] - usual[0])
        change = (centres[1] - centres[0]) - (usual[1] - usual[0])
        assert np.allclose(change, np.dot(change, line) * line)
        shifts.append(np.dot(change, line))
    assert -0.4 <= min(shifts) < -0.3
    assert 3.8 < max(shifts) <= 4.0
    assert 0.4 < np.mean(np.array(shifts) < 0.6) < 0.6


@pytest.mark.parametrize("minimise", [True, False])
def test_a_salt_bridge_is_scanned_from_contact_and_shaken(tmp_path, minimise):
    fragments = pairs(["C[NH3+]+CC(=O)[O-]"], [])
    settings = SamplingSettings(
        methods=("md",), temperatures="200-400", budget=16, interval=5, pool=1.0, window=1.0,
        separations=(-0.4, 4.0), minimise=minimise,
    )  # fmt: skip
    (found,) = sample(fragments, tmp_path / "s.h5", settings, MMFF, progress=False)
    assert {c.method for c in found.chosen} == {"dimer", "md"}
    graph = MolecularGraph(found.atoms)
    gaps = []
    for each in found.chosen:
        placed = each.placed(found.atoms)
        assert graph.intact(placed)
        one, other = (placed.positions[list(p)] for p in graph.pieces)
        gaps.append(np.linalg.norm(one[:, None] - other, axis=2).min())
    assert min(gaps) < 2.2
    assert max(gaps) > 3.5
    frames = list(open_dataset(tmp_path / "s.h5").read(range(len(found.chosen))))
    assert {frame.system.charge for frame in frames} == {0}


def test_a_smiles_of_three_molecules_is_a_cluster(tmp_path):
    (water,) = named_fragments(["O.O.O"])
    assert len(water.partners) == 3
    settings = SamplingSettings(methods=("noise",), budget=8, pool=1.0)
    (found,) = sample([water], tmp_path / "s.h5", settings, MMFF, progress=False)
    assert {c.method for c in found.chosen} == {"dimer", "noise"}


def test_an_interrupted_sampling_of_smiles_goes_on(tmp_path):
    settings = SamplingSettings(budget=6, interval=5, **CHEAP)
    fragments = named_fragments(["CCO", "[CH3]"])
    with pytest.raises(ConfigError, match="no radicals"):
        sample(fragments, tmp_path / "a.h5", settings, MMFF, progress=False)
    assert [p.name[:3] for p in (tmp_path / "a.h5.parts").iterdir()] == ["CCO"]
    with pytest.warns(TLPotWarning, match=r"\[CH3\] is left out: .*no radicals"):
        found = sample(
            fragments, tmp_path / "a.h5", settings, MMFF, skip_failed=True, progress=False
        )
    assert [each.name for each in found] == ["CCO"]
    alone = sample(fragments[:1], tmp_path / "b.h5", settings, MMFF, progress=False)
    for one, other in zip(found[0].chosen, alone[0].chosen, strict=True):
        assert np.array_equal(one.positions, other.positions)
    with (
        pytest.warns(TLPotWarning, match="left out"),
        pytest.raises(SimulationError, match="no fragment could be sampled"),
    ):
        sample(fragments[1:], tmp_path / "c.h5", settings, MMFF, skip_failed=True, progress=False)


YAML = """
fragments: {ethanol: CCO, cluster: O.O}
engine: mmff94
methods: [etkdg, md=2, downhill]
temperatures: 200-500
interval: 5
separations: [-0.3, 2]
budget: 6
pool: 1
"""


def test_a_yaml_file_has_the_same_settings(tmp_path):
    (tmp_path / "s.yaml").write_text(YAML)
    found = tlpot.sample(output=tmp_path / "s.h5", config=tmp_path / "s.yaml", progress=False)
    assert [row.name for row in found.rows] == ["ethanol", "cluster"]
    assert set(found.rows[1].methods) == {"dimer", "md", "downhill"}
    (tmp_path / "s.yaml").write_text(YAML.replace("interval", "intervall"))
    with pytest.raises(ConfigError, match="did you mean 'interval'"):
        tlpot.sample(output=tmp_path / "t.h5", config=tmp_path / "s.yaml", progress=False)
    stage, calculator = sampling_settings({"calculator": "mmff94", "methods": ["etkdg"]}, 10)
    assert (stage.methods, stage.budget, calculator) == (("etkdg",), 10, "mmff94")


def test_methods_share_the_pool_by_their_weights(tmp_path):
    settings = SamplingSettings(
        methods=("md=3", "noise"), temperatures="200-300", budget=16, interval=5, pool=1.0
    )
    (found,) = sample(named_fragments(["CCO"]), tmp_path / "s.h5", settings, MMFF, progress=False)
    assert (found.counts["md"], found.counts["noise"]) == (12, 4)
    assert SamplingSettings().shares(("scan", "modes", "md"), 1501) == {
        "scan": 501, "modes": 501, "md": 501,
    }  # fmt: skip


def test_settings_of_before_make_the_same_identity():
    assert set(SamplingSettings().as_json()) == {
        "methods", "temperatures", "budget", "pool", "window", "interval", "select", "model",
        "level", "seed",
    }  # fmt: skip
    assert SamplingSettings(noise=0.1).as_json()["noise"] == 0.1


def test_names_files_and_mappings_of_smiles(tmp_path):
    (tmp_path / "m.smi").write_text("# mine\nCCO ethanol\n\nO.O water dimer\nC/C=C/C\n")
    found = named_fragments([str(tmp_path / "m.smi"), "smiles:CO"])
    assert [f.name for f in found] == ["ethanol", "water dimer", "C|C=C|C", "CO"]
    assert len(found[1].partners) == 2
    assert len(found[3].atoms) == 6
    (named,) = given_fragments({"mine": "C[NH3+]"})
    assert (named.name, named.atoms.info["charge"]) == ("mine", 1)
    with pytest.warns(TLPotWarning, match="smiles:CO"):
        (monoxide,) = named_fragments(["CO"])
    assert len(monoxide.atoms) == 2
    for text, error, why in (
        ("CCO\nC1C broken\n", ConfigError, "line 2: .*syntax"),
        ("CCO a\nCO a\n", ConfigError, "line 2: 'a' occurs twice"),
        ("# nothing\n", DataError, "has no SMILES"),
    ):
        (tmp_path / "m.smi").write_text(text)
        with pytest.raises(error, match=why):
            named_fragments([str(tmp_path / "m.smi")])


@pytest.mark.fault
@pytest.mark.parametrize("how", ["mapping", "file", "names"])
def test_a_smiles_that_cannot_be_made_is_left_out_where_that_is_asked(tmp_path, how):
    impossible = "c1cc(F)c2ncc(C1CC1)cc2c1"
    (tmp_path / "m.smi").write_text(f"CO methanol\n{impossible} odd\n")
    given = {
        "mapping": {"methanol": "CO", "odd": impossible},
        "file": [str(tmp_path / "m.smi")],
        "names": ["smiles:CO", impossible],
    }[how]
    with pytest.raises(GeometryError, match="no geometry"):
        given_fragments(given)
    with pytest.warns(TLPotWarning, match="left out.*no geometry"):
        (found,) = given_fragments(given, skip_failed=True)
    assert found.atoms.get_chemical_formula() == "CH4O"
    with pytest.warns(TLPotWarning), pytest.raises(ConfigError, match="no fragment is left"):
        given_fragments({"odd": impossible}, skip_failed=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperatures": "warm"}, "range such as 200-1000"),
        ({"temperatures": "900-300"}, "range such as 200-1000"),
        ({"separations": (4.0, -0.4)}, "two increasing distances"),
        ({"downhill": "gfn2-xtb"}, "none of the methods"),
        ({"methods": ("md=much",)}, "no number for a weight"),
        ({"methods": ("md=0",)}, "weight of method md is 0"),
        ({"methods": ("md=2", "md")}, "each once"),
        ({"noise": 0.0}, "noise is 0"),
        ({"conformers": 0}, "conformers is 0"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        SamplingSettings(**settings)


def test_conformers_of_structures_without_a_smiles(tmp_path):
    atoms = smiles_atoms("CCCO")
    del atoms.info["smiles"]
    settings = SamplingSettings(methods=("etkdg",), budget=6, pool=1.0)
    engine = CalculatorFactory(factory=Springs, level="toy")
    target = SamplingTarget(name="propanol", atoms=atoms)
    (found,) = sample([target], tmp_path / "s.h5", settings, engine, progress=False)
    assert found.counts["etkdg"] > 1
