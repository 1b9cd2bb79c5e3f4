"""Fragment files as datasets: sparse levels, splits, training, labelling, and damaged files."""

import errno
import hashlib
import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from fragment_files import Springs, fragment_file, labelled

from tlpot.cli import main
from tlpot.data import (
    FragmentRows,
    FragmentSource,
    add_labels,
    add_level,
    add_rows,
    assembled,
    edited_fragments,
    find_problems,
    fragment_kinds,
    is_fragment_file,
    load_split,
    make_split,
    open_dataset,
    store_split,
    stored_split,
    write_dataset,
)
from tlpot.errors import ConfigError, DataError, OutputError, UnknownLevelError
from tlpot.fragments import fragments_from
from tlpot.jobs import train_config, train_from_scratch

GOLDEN = Path(__file__).parents[1] / "golden" / "files"


def append(path, *rows, about=None):
    """Adds geometries to a file, kind by kind; the rows where they are."""
    with edited_fragments(path, about) as handle:
        return [add_rows(handle, path, some) for some in rows]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A level for all rows and one for every other."""
    path = fragment_file(tmp_path_factory.mktemp("made") / "f.h5")
    labelled(path, "springs", offset=-25000.0, isolated_atoms={1: -13.0, 6: -1000.0})
    return labelled(path, "Better/Springs", every=2)


@pytest.fixture
def path(made, tmp_path):
    copy = tmp_path / "f.h5"
    copy.write_bytes(made.read_bytes())
    return copy


def test_labels_come_back_as_computed_and_nan_where_there_are_none(path):
    dataset = open_dataset(path)
    assert len(dataset) == 30
    assert set(dataset.levels) == {"springs", "better/springs"}
    assert dataset.labelled("springs").all()
    rows = [atoms.info["row"] for atoms in fragments_from(path)]
    assert dataset.labelled("better/springs").tolist() == [row % 2 == 0 for row in rows]
    for frame in dataset.read(range(len(dataset))):
        atoms = frame_atoms(frame)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        low = frame.labels["springs"]
        assert low.energy == pytest.approx(energy - 25000.0, abs=1e-10)
        np.testing.assert_allclose(low.forces, forces, atol=1e-6)
        if "better/springs" in frame.labels:
            assert frame.labels["better/springs"].energy == energy  # not a bit is lost
    assert dataset.levels["springs"].isolated_atoms == {1: -13.0, 6: -1000.0}
    assert "toy" in dataset.levels["springs"].definition


def frame_atoms(frame):
    from ase import Atoms

    atoms = Atoms(frame.system.atomic_numbers, frame.system.positions)
    atoms.calc = Springs()
    return atoms


def test_many_low_and_few_high_labels_share_geometries(tmp_path):
    """Slabs of more rows than are read at a time, labels in some of them."""
    path = fragment_file(tmp_path / "f.h5", {"one": ("G", 0)})
    kind = fragment_kinds(path)[0]
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(3000, len(kind), 3)) * 5
    sources = tuple(FragmentSource(source=f"p{k % 7}") for k in range(3000))
    rows = FragmentRows(kind=kind, positions=positions, sources=sources, weight=np.ones(3000))
    (placed,) = append(path, rows)
    assert placed.tolist() == list(range(3, 3003))
    low, high = rng.normal(size=3003), rng.normal(size=5)
    where = np.array([2999, 3, 1500, 1501, 4])
    add_level(path, "low", {kind.key: (np.arange(3003), low, None)})
    add_level(path, "high", {kind.key: (where, high, None)})
    dataset = open_dataset(path)
    assert np.flatnonzero(dataset.labelled("high")).tolist() == sorted(where.tolist())
    frames = dataset.read(where)
    assert [frame.labels["high"].energy for frame in frames] == high.tolist()
    assert [frame.labels["low"].energy for frame in frames] == low[where].tolist()
    assert frames[0].labels["high"].forces is None


def test_levels_are_added_to_and_never_overwritten_by_accident(path):
    key = fragment_kinds(path)[0].key
    content = path.read_bytes()
    with pytest.raises(DataError, match=rf"{key}: row 0 has a label"):
        add_level(path, "better/springs", {key: ([0, 1], [1.0, 2.0], None)})
    with pytest.raises(DataError, match=r"'better, springs, toy'.*orca"):
        add_level(path, "better/springs", {key: ([1], [1.0], None)}, {"program": "orca"})
    with pytest.raises(ConfigError, match="did you mean 'program'"):
        add_level(path, "new", {key: ([1], [1.0], None)}, {"programm": "orca"})
    with pytest.raises(DataError, match=r"-13\.0+ ev for H"):
        add_level(path, "springs", {}, isolated_atoms={1: -13.5})
    assert path.read_bytes() == content
    add_level(path, "springs", {}, isolated_atoms={8: -2000.0})
    assert open_dataset(path).levels["springs"].isolated_atoms == {1: -13, 6: -1000, 8: -2000}
    add_level(path, "better/springs", {key: ([1], [5.0], None)}, {"program": "toy"})
    add_level(path, "better/springs", {key: ([0], [7.0], None)}, replace=True)
    frames = open_dataset(path).read([0, 1, 2])
    assert [frame.labels["better/springs"].energy for frame in frames[:2]] == [7.0, 5.0]
    assert frames[1].labels["better/springs"].forces is None
    assert frames[2].labels["better/springs"].forces is not None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"ACE": ([0], [1.0], None)}, "no frames of 'ACE'"),
        ({"": ([0, 0], [1.0, 1.0], None)}, "names a row twice"),
        ({"": ([99], [1.0], None)}, "has 3 rows|has 6 rows"),
        ({"": ([0], [np.nan], None)}, "energy of row 0 is not finite"),
        ({"": ([0], [1.0, 2.0], None)}, r"energies have shape \(2,\)"),
        ({"": ([0], [1.0], np.zeros((1, 2, 3)))}, r"forces have shape \(1, 2, 3\)"),
        ({"": ([0.5], [1.0], None)}, "list of row numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(path, labels, message):
    key = fragment_kinds(path)[0].key
    content = path.read_bytes()
    with pytest.raises(DataError, match=message):
        add_level(path, "new", {name or key: value for name, value in labels.items()})
    assert path.read_bytes() == content


def test_geometries_that_do_not_fit_are_refused(path):
    kind = fragment_kinds(path)[0]
    source = (FragmentSource(source="p"),)
    good = np.zeros((1, len(kind), 3))
    for positions, message in ((good[:, 1:], "need"), (good * np.nan, "not finite")):
        rows = FragmentRows(kind=kind, positions=positions, sources=source, weight=np.ones(1))
        with pytest.raises(DataError, match=f"{kind.key}.*{message}"):
            append(path, rows)
    with pytest.raises(DataError, match=r"cap_rule.*do not belong"):
        append(path, about={"cap_rule": "fixed"})
    (path.parent / "other.h5").write_text("x")
    with pytest.raises(DataError, match="not a fragment file"):
        append(path.parent / "other.h5")


def test_labels_computed_elsewhere_come_back_by_geometry(path, tmp_path):
    """As after `tlpot label`: another layout, another order of the frames."""
    write_dataset(open_dataset(path), tmp_path / "native.h5")
    bare = fragment_file(tmp_path / "bare.h5")
    assert open_dataset(bare).levels == {}
    n_labels = int(open_dataset(path).labelled("better/springs").sum())
    assert 15 <= n_labels < 30
    native = open_dataset(tmp_path / "native.h5")
    assert add_labels(bare, native, "better/springs") == n_labels
    ours, theirs = open_dataset(bare), open_dataset(path)
    for a, b in zip(ours.read(range(30)), theirs.read(range(30)), strict=True):
        assert a.labels.keys() == b.labels.keys() - {"springs"}
        for level, label in a.labels.items():
            assert label.energy == pytest.approx(b.labels[level].energy, rel=1e-12)
            np.testing.assert_allclose(label.forces, b.labels[level].forces, rtol=1e-6, atol=1e-9)
    assert len(fragments_from(bare, without="better/springs")) == 30 - n_labels
    other = fragment_file(tmp_path / "other.h5", {"one": ("AFA", 5)})
    with pytest.raises(DataError, match="none of the geometries"):
        add_labels(other, open_dataset(path), "springs")


def test_by_source_keeps_proteins_apart(path):
    dataset = open_dataset(path)
    sources = dataset.column("source")
    split = make_split(dataset, by="source", validation=0, test=["two"])
    assert set(sources[split.train]) == {"one"}
    assert set(sources[split.test]) == {"two"}
    # the same kind of molecule is on both sides: by molecule this could not be
    assert set(dataset.group_idx[split.train]) & set(dataset.group_idx[split.test])
    half = make_split(dataset, by="trajectory", validation=0.5, test=0)
    assert len(set(sources[half.train]) & set(sources[half.validation])) == 0


def test_one_source_cannot_be_split_by_source(tmp_path):
    path = fragment_file(tmp_path / "f.h5", {"one": ("AGA", 0)})
    with pytest.raises(DataError, match=r"the same source, 'one'"):
        make_split(open_dataset(path), by="source")


def test_native_files_with_a_source_are_split_by_it_too(path, tmp_path):
    write_dataset(open_dataset(path), tmp_path / "native.h5")
    native = open_dataset(tmp_path / "native.h5")
    split = make_split(native, by="source", validation=0, test=["two"])
    assert set(native.column("source")[split.test]) == {"two"}
    assert len(split.test) == 15
    assert native.unused_keys == ()
    both = open_dataset([path, tmp_path / "native.h5"])
    assert len(make_split(both, by="source", validation=0, test=["two"]).test) == 30


def test_the_command_line_splits_and_shows_fragments(path, tmp_path, capsys):
    output = tmp_path / "split.json"
    arguments = ["--by", "source", "--validation", "two", "--test", "0", "-o", str(output)]
    assert main(["data", "split", str(path), *arguments]) == 0
    split = load_split(output, open_dataset(path))
    assert set(open_dataset(path).column("source")[split.train]) == {"one"}
    capsys.readouterr()
    assert main(["data", "info", str(path), "--molecules"]) == 0
    shown = capsys.readouterr().out
    assert "30 of 9 molecules" in shown
    assert "not used        nothing" in shown


def test_another_programs_schema_is_no_business_of_ours(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        handle.attrs["schema"] = "theirs"
    assert not is_fragment_file(tmp_path / "a.h5")


def test_stored_splits_outlive_new_labels_and_geometries(path):
    split = make_split(open_dataset(path), by="source", validation=0, test=["two"], seed=4)
    store_split(path, "proteins", split)
    again = stored_split(path, "proteins")
    assert (again.train.tolist(), again.test.tolist()) == (
        split.train.tolist(), split.test.tolist(),
    )  # fmt: skip
    assert (again.by, again.seed) == ("source", 4)
    fragment_file(path, {"three": ("AGA", 8), "four": ("AFA", 9)})
    dataset = open_dataset(path)
    assert len(dataset) == 60
    later = stored_split(path, "proteins")
    sources = dataset.column("source")
    assert set(sources[later.train]) == {"one"}
    assert set(sources[later.test]) == {"two"}
    assert len(later.test) == 15
    with pytest.raises(DataError, match="did you mean 'proteins'"):
        stored_split(path, "protein")
    with pytest.raises(DataError, match="has a split 'proteins'"):
        store_split(path, "proteins", later)
    with pytest.raises(DataError, match="was not made for"):
        store_split(path, "old", split)


@pytest.mark.train
def test_a_network_learns_from_it(path, tmp_path):
    config = train_config(
        {
            "data": {"files": [str(path)]},
            "level": "springs",
            "output": str(tmp_path / "model.safetensors"),
            "model": {
                "hidden_irreps": "4x0e+4x1o", "radial_hidden": [], "n_species": 4,
                "readout_hidden": 4, "cutoff": 3.0,
            },
            "split": {"by": "source", "validation": ["two"]},
            "training": {"epochs": 4, "batch_size": 5, "ema": 0.5},
        }
    )  # fmt: skip
    outcome = train_from_scratch(config, show=False)
    assert outcome.end.overall["forces_mae"] < 0.95 * outcome.start.overall["forces_mae"]


def test_it_can_be_sent_to_workers_joined_and_checked(path, tmp_path):
    dataset = pickle.loads(pickle.dumps(open_dataset(path)))
    assert dataset.read([3])[0].name.startswith("f.h5:/fragments/ACE-")
    problems = find_problems(dataset)
    assert [p for p in problems if p.severity == "error"] == []
    other = fragment_file(tmp_path / "g.h5", {"six": ("AGA", 6)})
    joined = open_dataset([path, labelled(other)])
    assert len(joined) == 45
    assert set(joined.column("source")) == {"one", "two", "six"}
    assert joined.group_names == dataset.group_names
    only = open_dataset(path, level="springs")
    assert set(only.levels) == {"springs"}
    with pytest.raises(UnknownLevelError, match="did you mean 'springs'"):
        open_dataset(path, level="spring")


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    content, key = path.read_bytes(), fragment_kinds(path)[0].key

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(h5py.Dataset, "__setitem__", fail)
    with pytest.raises(OutputError, match="could not write"):
        add_level(path, "new", {key: ([0], [1.0], None)})
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["f.h5"]


KIND = "/fragments/ACE-ALA-NME"


def damage(change):
    def apply(path):
        with h5py.File(path, "r+") as handle:
            group = next(g for k, g in handle["fragments"].items() if k.startswith("ACE-ALA-NME"))
            change(handle, group)

    return apply


def swap(group, name, values):
    del group[name]
    group[name] = values


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD = {
    "truncated": (cut_short, "not a complete HDF5 file"),
    "flat positions": (
        damage(lambda f, g: swap(g, "coordinates", np.zeros((3, 57)))),
        rf"{KIND}.*'coordinates' has shape \(3, 57\)",
    ),
    "fewer atoms": (
        damage(lambda f, g: swap(g, "atomic_numbers", np.array([1, 6]))),
        rf"{KIND}.*'atomic_numbers' has shape \(2,\)",
    ),
    "unknown unit": (
        damage(
            lambda f, g: f.attrs.modify(
                "units", '{"coordinates": "feet", "energy": "ev", "forces": "ev/angstrom"}'
            )
        ),
        "unknown length unit 'feet'",
    ),
    "units no json": (damage(lambda f, g: f.attrs.modify("units", "eV")), "'units' is not JSON"),
    "level twice": (
        damage(lambda f, g: f.attrs.modify("levels", '{"a": "springs", "b": "Springs"}')),
        "names 'springs' twice",
    ),
    "forces of other atoms": (
        damage(lambda f, g: swap(g, "springs.forces", np.zeros((3, 2, 3)))),
        r"'springs.forces' has shape \(3, 2, 3\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_damaged_files_say_what_is_wrong_and_where(path, kind):
    harm, message = BAD[kind]
    harm(path)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path)
    assert path.name in str(caught.value)


def test_positions_that_are_nan_are_found_by_validation(path):
    damage(lambda f, g: g["coordinates"].__setitem__((1, 0, 0), np.nan))(path)
    errors = [p for p in find_problems(open_dataset(path)) if p.severity == "error"]
    assert [p.what for p in errors] == ["positions that are NaN or infinite"]
    assert errors[0].frames[0].startswith("f.h5:/fragments/ACE-ALA-NME")
    assert errors[0].frames[0].endswith("[1]")


@pytest.mark.parametrize(
    ("name", "value"),
    [("bonds", [[0, 99]]), ("caps", [[99, 0, 6]]), ("unit_id", [0, 1]), ("kind", None)],
)
def test_kinds_that_do_not_fit_their_atoms_are_refused(path, name, value):
    def change(_, group):
        del group.attrs[name]
        if value is not None:
            group.attrs[name] = value

    damage(change)(path)
    with pytest.raises(DataError, match=f"{KIND}.*{name}"):
        fragments_from(path)


def test_the_layout_is_the_native_one(path):
    """A reader of ANI-1x finds what it looks for, and nothing else is taken for structures."""
    dataset = open_dataset(path)
    with h5py.File(path) as handle:
        groups = list(handle["fragments"].values())
        energies = np.concatenate([group["springs.energy"][()] for group in groups])
        shapes = {group["coordinates"].shape[1:] for group in groups}
        assert shapes == {(len(group["atomic_numbers"]), 3) for group in groups}
    labels = [frame.labels["springs"].energy for frame in dataset.read(range(len(dataset)))]
    assert energies.tolist() == labels  # in eV, so not a bit is lost


def test_a_conversion_is_a_fragment_file_still(path, tmp_path):
    split = make_split(open_dataset(path), by="source", validation=0, test=["two"], seed=4)
    store_split(path, "proteins", split)
    converted = tmp_path / "converted.h5"
    assert main(["data", "convert", str(path), "-o", str(converted)]) == 0
    before, after = fragment_kinds(path), fragment_kinds(converted)
    assert [kind.key for kind in before] == [kind.key for kind in after]
    for one, other in zip(before, after, strict=True):
        assert one.is_same_graph(other)
        assert (one.name, one.unit_id.tolist()) == (other.name, other.unit_id.tolist())
    old, new = open_dataset(path), open_dataset(converted)
    for name in ("source", "trajectory", "frame", "scheme", "residues", "seed", "weight"):
        assert new.column(name).tolist() == old.column(name).tolist()
    assert new.unused_keys == ()
    assert stored_split(converted, "proteins").test.tolist() == split.test.tolist()
    # what was there is not written again, and what is new stands beside it, with its charge
    fragment_file(converted, {"one": ("AGA", 0), "three": ("DGA", 8)})
    grown = open_dataset(converted)
    assert len(grown) == 45
    charges = {f.group.split(".")[0]: f.system.charge for f in grown.read(range(45))}
    assert {charges["ACE-ASP-NME"], charges["ACE-ALA-NME"]} == {-1, 0}
    assert stored_split(converted, "proteins").by == "source"


def test_files_in_other_units_get_labels_in_them(path, tmp_path):
    converted = tmp_path / "hartree.h5"
    write_dataset(open_dataset(path, level="springs"), converted)
    key = fragment_kinds(converted)[0].key
    energy, atoms = -27.5, {1: -13.25, 6: -1000.0}
    add_level(converted, "new", {key: ([0], [energy], None)}, isolated_atoms=atoms)
    dataset = open_dataset(converted)
    assert dataset.read([0])[0].labels["new"].energy == pytest.approx(energy, abs=1e-12)
    assert dataset.levels["new"].isolated_atoms == pytest.approx(atoms, abs=1e-9)


def label_in_place(path, earlier):
    """`tlpot label FILE -o FILE`; returns the command but for its output."""
    if earlier:
        path.write_bytes((GOLDEN / "earlier-fragments.h5").read_bytes())
    engine = ["charge='{charge}'", "--engine", "ase:fragment_files:Springs", "--level", "toy"]
    return ["label", str(path), *engine, "-o", str(path)]


@pytest.mark.parametrize("earlier", [False, True])
def test_the_labels_of_an_engine_are_added_in_place(path, earlier):
    command = label_in_place(path, earlier)
    before = open_dataset(path)
    frames = before.read(range(len(before)))
    assert main(command) == 0
    dataset = open_dataset(path)
    assert dataset.labelled("toy").all()
    assert dataset.labelled("toy", "forces").all()
    for old, new in zip(frames, dataset.read(range(len(dataset))), strict=True):
        assert new.name == old.name
        assert new.system.positions.tolist() == old.system.positions.tolist()
        assert new.labels["springs"].energy == old.labels["springs"].energy
        assert new.labels["toy"].energy == pytest.approx(new.labels["springs"].energy + 25000)
    assert dataset.levels["springs"] == before.levels["springs"]
    content = path.read_bytes()
    assert main(command) == 0
    assert path.read_bytes() == content
    assert not fragments_from(path, without="toy")


@pytest.mark.train
@pytest.mark.filterwarnings("ignore:constrained_layout")
@pytest.mark.parametrize("earlier", [False, True])
def test_every_command_that_reads_a_dataset_reads_one_labelled_in_place(path, tmp_path, earlier):
    assert main(label_in_place(path, earlier)) == 0
    assert main(["data", "info", str(path), "--molecules"]) == 0
    assert main(["data", "validate", str(path)]) == 0
    split, config = tmp_path / "split.json", tmp_path / "train.yaml"
    arguments = ["--by", "source", "--validation", "two", "--test", "0", "-o", str(split)]
    assert main(["data", "split", str(path), *arguments]) == 0
    low, high = (str(tmp_path / f"{name}.safetensors") for name in ("low", "high"))
    settings = [f"split.file={split}", "training.epochs=1", "--device", "cpu"]
    settings.append("data.charges=ignore")
    content = {"data": {"files": [str(path)]}, "level": "springs", "output": low}
    small = {"preset": "tiny", "hidden_irreps": "4x0e+4x1o", "radial_hidden": []}
    config.write_text(yaml.safe_dump({**content, "model": small}))
    assert main(["train", str(config), *settings]) == 0
    tune = ["finetune", low, str(path), "--level", "toy", "-o", high, *settings]
    assert main([*tune, "report.enabled=false"]) == 0
    assert main(["evaluate", high, str(path), "--level", "toy", "--device", "cpu"]) == 0


EARLIER = json.loads((GOLDEN / "earlier-fragments.json").read_text())


def digest(values):
    if values is None:
        return None
    content = np.ascontiguousarray(values, dtype="<f8").tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def assert_as_earlier(path, n_frames=None):
    """Each bit of frames and labels, and all that is said of them."""
    dataset = open_dataset(path)
    found = dataset.read(range(n_frames or len(dataset)))
    for frame, expected in zip(found, EARLIER["frames"], strict=True):
        assert frame.name.partition(":")[2] == expected["name"].partition(":")[2]
        assert (frame.group, frame.system.charge) == (expected["group"], expected["charge"])
        assert frame.system.atomic_numbers.tolist() == expected["numbers"]
        assert digest(frame.system.positions) == expected["positions"]
        labels = {k: [v.energy, digest(v.forces)] for k, v in frame.labels.items()}
        assert {k: labels[k] for k in expected["labels"]} == expected["labels"]
    for name, values in EARLIER["columns"].items():
        assert dataset.column(name).tolist()[: len(found)] == values
    for name, (definition, atoms) in EARLIER["levels"].items():
        assert dataset.levels[name].definition == definition
        assert dataset.levels[name].isolated_atoms == {int(z): x for z, x in atoms.items()}
    split = stored_split(path, "proteins")
    parts = {part: getattr(split, part).tolist() for part in ("train", "validation", "test")}
    assert (parts, split.by, split.seed) == (EARLIER["split"], "source", 4)
    energy, forces = assembled(path, "two", "springs", row=1)
    assert energy == pytest.approx(EARLIER["assembled"][0], rel=1e-12)
    assert np.abs(forces).sum() == pytest.approx(EARLIER["assembled"][1], rel=1e-9)


@pytest.fixture
def earlier(tmp_path):
    copy = tmp_path / "earlier.h5"
    copy.write_bytes((GOLDEN / "earlier-fragments.h5").read_bytes())
    return copy


def test_a_file_of_an_earlier_tlpot_means_the_same(earlier):
    content = earlier.read_bytes()
    assert_as_earlier(earlier)
    assert is_fragment_file(earlier)
    assert earlier.read_bytes() == content


def test_a_file_of_an_earlier_tlpot_is_added_to(earlier):
    fragment_file(earlier, {"one": ("DA", 5), "two": ("GG", 3)}, whole=True)
    assert len(open_dataset(earlier)) == len(EARLIER["frames"])  # all of it was there
    key = fragment_kinds(earlier)[0].key
    add_level(earlier, "new", {key: ([1], [5.0], None)})
    with h5py.File(earlier) as handle:  # written anew, in the layout of today
        assert "schema" not in handle.attrs
    assert_as_earlier(earlier)
    assert open_dataset(earlier).read([1])[0].labels["new"].energy == 5.0


def test_one_of_a_newer_or_unknown_layout_is_refused(earlier):
    for name, value in (("schema", "tlpot-fragment"), ("schema_version", 9)):
        with h5py.File(earlier, "r+") as handle:
            handle.attrs.modify(name, value)
        with pytest.raises(DataError, match=f"{name}' is {value!r}"):
            open_dataset(earlier)
        with h5py.File(earlier, "r+") as handle:
            handle.attrs["schema"], handle.attrs["schema_version"] = "tlpot-fragments", 1


EARLIER_HARM = {
    "no sources": (lambda f, g: f.pop("sources"), "no group /sources"),
    "no positions": (lambda f, g: g.pop("positions"), "no dataset 'positions'"),
    "no charge": (lambda f, g: g.attrs.pop("charge"), "no attribute 'charge'"),
    "fewer atoms": (lambda f, g: swap(g, "numbers", np.array([1, 6])), "'numbers'"),
    "fewer caps": (
        lambda f, g: swap(g, "is_cap", np.zeros(len(g["numbers"]), dtype=bool)), "'cap_host'",
    ),
    "bond to nowhere": (lambda f, g: swap(g, "bonds", np.array([[0, 99]])), "'bonds' names 99"),
    "source nowhere": (lambda f, g: g["source"].__setitem__(0, 1000), "'source' names 1000"),
    "unit missing": (lambda f, g: f.attrs.modify("units", '{"energy": "ev"}'), "'units'"),
    "level not described": (lambda f, g: f["levels"].pop("springs"), "no /levels/springs"),
    "level without name": (lambda f, g: f["levels/springs"].attrs.pop("name"), "'name'"),
    "level twice": (
        lambda f, g: f["levels/springs"].attrs.modify("name", "better/springs"), "second time",
    ),
    "nan energy": (lambda f, g: g["springs/energy"].__setitem__(1, np.nan), "'energy'.*finite"),
    "single precision": (
        lambda f, g: swap(g["springs"], "energy", np.zeros(len(g["springs/index"]), "f4")),
        "'energy'.*64 bits",
    ),
    "unsorted index": (lambda f, g: g["springs/index"].__setitem__(0, 2), "'index' is not asc"),
    "index too high": (lambda f, g: g["springs/index"].__setitem__(2, 50), "'index' names 50"),
    "free atoms": (lambda f, g: swap(f["levels/springs"], "e0", np.zeros(3)), "'e0'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", EARLIER_HARM)
def test_a_damaged_file_of_an_earlier_tlpot_says_what_is_wrong(earlier, kind):
    harm, message = EARLIER_HARM[kind]
    with h5py.File(earlier, "r+") as handle:
        with_caps = [group for group in handle["fragments"].values() if len(group["cap_host"])]
        harm(handle, with_caps[0])
    content = earlier.read_bytes()
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(earlier)
    assert str(earlier) in str(caught.value)
    with pytest.raises(DataError, match=message):
        add_level(earlier, "new", {})
    assert earlier.read_bytes() == content
