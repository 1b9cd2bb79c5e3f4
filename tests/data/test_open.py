"""Every layout gives the known frame in eV and Å, force sign included."""

import lzma

import h5py
import numpy as np
import pytest
from ase.units import Bohr, Hartree, kcal, mol
from layouts import native_file, numbers_of_water, water_frames

from tlpot.data import Source, make_split, open_dataset
from tlpot.errors import ConfigError, DataError, UnknownLevelError

WATER = numbers_of_water()
MP2 = "mp2/aug-cc-pvtz"


@pytest.fixture
def values():
    """Positions (Å), energies (eV) and forces (eV/Å) of four frames of water."""
    rng = np.random.default_rng(1)
    return water_frames(4), -2080 + rng.normal(size=4), rng.normal(size=(4, 3, 3))


def check(dataset, values, level, *, forces=True, atol=1e-9):
    positions, energies, all_forces = values
    assert len(dataset) == 4
    assert dataset.elements == (1, 8)
    assert dataset.sizes.tolist() == [3] * 4
    assert dataset.labelled(level).all()
    assert dataset.labelled(level, "forces").all() == forces
    for k in (2, 0):
        (frame,) = dataset.read([k])
        assert frame.system.atomic_numbers.tolist() == [8, 1, 1]
        np.testing.assert_allclose(frame.system.positions, positions[k], atol=atol)
        labels = frame.labels[level]
        assert labels.energy == pytest.approx(energies[k], abs=atol)
        if forces:
            np.testing.assert_allclose(labels.forces, all_forces[k], atol=atol)
        else:
            assert labels.forces is None


def test_ani1(tmp_path, values):
    with h5py.File(tmp_path / "ani_gdb_s01.h5", "w") as handle:
        group = handle.create_group("gdb11_s01/gdb11_s01-2")
        group["species"] = np.array([b"O", b"H", b"H"])
        group["coordinates"] = values[0]
        group["energies"] = values[1] / Hartree
        group["coordinatesHE"] = np.zeros((2, 3, 3))
        group["energiesHE"] = np.zeros(2)
        group["smiles"] = np.array([b"[H]", b"O", b"[H]"])
    dataset = open_dataset(tmp_path / "ani_gdb_s01.h5", "ani1")
    check(dataset, values, "wb97x/6-31g*", forces=False)
    assert dataset.group_names == ("gdb11_s01/gdb11_s01-2",)
    assert dataset.read([3])[0].name == "ani_gdb_s01.h5:/gdb11_s01/gdb11_s01-2[3]"
    assert dataset.unused_keys == ("coordinatesHE", "energiesHE", "smiles")


def test_ani1x_with_sums_and_holes(tmp_path, values):
    with h5py.File(tmp_path / "ani1x.h5", "w") as handle:
        group = handle.create_group("H2O1")
        group["atomic_numbers"] = WATER.astype(np.uint8)
        group["coordinates"] = values[0]
        group["wb97x_dz.energy"] = values[1] / Hartree
        group["wb97x_dz.forces"] = values[2] / Hartree
        group["hf_dz.energy"] = np.array([-76.0, -76.1, -76.2, -76.3])
        group["npno_ccsd(t)_dz.corr_energy"] = np.array([-0.2, np.nan, -0.3, np.nan])
        group["ccsd(t)_cbs.energy"] = np.array([-76.4, np.nan, -76.5, np.nan])
    dataset = open_dataset(tmp_path / "ani1x.h5", "ani1x")
    check(dataset, values, "wb97x/6-31g*")
    assert set(dataset.levels) == {
        "wb97x/6-31g*",
        "hf/cc-pvdz",
        "npno-ccsd(t)/cc-pvdz",
        "ccsd(t)/cbs",
    }
    assert dataset.levels["ccsd(t)/cbs"].kinds == {"energy"}
    assert dataset.labelled("ccsd(t)/cbs").tolist() == [True, False, True, False]
    first, second = dataset.read([0, 1])
    assert first.labels["npno-ccsd(t)/cc-pvdz"].energy == pytest.approx(-76.2 * Hartree)
    assert set(second.labels) == {"wb97x/6-31g*", "hf/cc-pvdz"}
    (only,) = dataset.read([0], ["hf/cc-pvdz"])
    assert set(only.labels) == {"hf/cc-pvdz"}
    with pytest.raises(UnknownLevelError, match=r"no level 'ccsd\(t\)/cbd'; did you mean"):
        dataset.labelled("ccsd(t)/cbd")
    with pytest.raises(DataError, match=r"any of the labels described \(wb97x_tz\.energy"):
        open_dataset(tmp_path / "ani1x.h5", "ani1x", level="wB97X/def2-TZVPP")
    with pytest.raises(UnknownLevelError, match="no level 'pbe'; valid: "):
        open_dataset(tmp_path / "ani1x.h5", "ani1x", level="pbe")


def test_ani2x_names_molecules_by_formula(tmp_path, values):
    with h5py.File(tmp_path / "ani2x.h5", "w") as handle:
        group = handle.create_group("003")
        # ozone before and after the four waters: frames keep their order in the file
        group["species"] = np.stack([[8, 8, 8], *[WATER] * 4, [8, 8, 8]])
        group["coordinates"] = np.concatenate([values[0][:1], values[0], values[0][:1]])
        group["energies"] = np.concatenate([[0.0], values[1], [0.0]]) / Hartree
        group["forces"] = np.concatenate([values[2][:1], values[2], values[2][:1]]) / Hartree
    with pytest.raises(UnknownLevelError, match="does not say which level"):
        open_dataset(tmp_path / "ani2x.h5", "ani2x")
    dataset = open_dataset(tmp_path / "ani2x.h5", "ani2x", level="wb97x/6-31g*")
    assert dict(zip(dataset.group_names, np.bincount(dataset.group_idx), strict=True)) == {
        "O3": 2,
        "H2O": 4,
    }
    frames = dataset.read([0, 1, 4, 5])
    assert [frame.group for frame in frames] == ["O3", "H2O", "H2O", "O3"]
    np.testing.assert_allclose(frames[2].labels["wb97x/6-31g*"].forces, values[2][3])


def test_comp6_calls_gradients_forces(tmp_path, values):
    with h5py.File(tmp_path / "s66.h5", "w") as handle:
        group = handle.create_group("s66x8/mol00")
        group["species"] = np.array([b"O", b"H", b"H"])
        group["coordinates"] = values[0]
        group["energies"] = values[1] / Hartree
        group["forces"] = -values[2] / Hartree
    check(open_dataset(tmp_path / "s66.h5", "comp6"), values, "wb97x/6-31g*")


@pytest.mark.parametrize(
    ("smiles", "charge"),
    [("[H:2][O:1][H:3]", 0), ("[O-:1][N+:2](=[O:3])[O-:4].[Ca+2:5]", 1), ("[Cl-]", -1)],
)
def test_spice_is_in_bohr_with_gradients(tmp_path, values, smiles, charge):
    with h5py.File(tmp_path / "spice.hdf5", "w") as handle:
        group = handle.create_group("water")
        group["atomic_numbers"] = WATER
        group["conformations"] = values[0] / Bohr
        group["conformations"].attrs["units"] = "bohr"
        group["dft_total_energy"] = values[1] / Hartree
        group["dft_total_gradient"] = -values[2] / (Hartree / Bohr)
        group["smiles"] = [smiles]
        group["subset"] = ["SPICE"]
    dataset = open_dataset(tmp_path / "spice.hdf5", "spice")
    check(dataset, values, "wb97m-d3bj/def2-tzvppd")
    assert dataset.read([0])[0].system.charge == charge
    assert dataset.column("subset").tolist() == ["SPICE"] * len(dataset)


def test_transition1x_is_read_reaction_by_reaction(tmp_path, values):
    with h5py.File(tmp_path / "t1x.h5", "w") as handle:
        group = handle.create_group("data/H2O/rxn0001")
        for name, rows in {"": slice(None), "reactant": [0], "product": [3]}.items():
            part = group.create_group(name) if name else group
            part["atomic_numbers"] = WATER
            part["positions"] = values[0][rows]
            part["wB97x_6-31G(d).energy"] = values[1][rows]
            part["wB97x_6-31G(d).atomization_energy"] = values[1][rows] + 2000
            part["wB97x_6-31G(d).forces"] = values[2][rows]
        handle["train/H2O/rxn0001"] = h5py.SoftLink("/data/H2O/rxn0001")
    dataset = open_dataset(tmp_path / "t1x.h5", "transition1x")
    check(dataset, values, "wb97x/6-31g(d)")
    assert len(dataset) == 4
    assert dataset.group_names == ("data/H2O/rxn0001",)


def test_one_frame_in_each_group_is_refused_with_a_remedy(tmp_path, values):
    with h5py.File(tmp_path / "qm7x.hdf5", "w") as handle:
        group = handle.create_group("1/Geom-m1-i1-c1-opt")
        group["atNUM"], group["atXYZ"] = WATER, values[0][0]
        group["ePBE0+MBD"], group["totFOR"] = values[1][:1], values[2][0]
    spec = {
        "container": "hdf5",
        "numbers": "atNUM",
        "coordinates": "atXYZ",
        "sign": "force",
        "units": {"coordinates": "angstrom", "energy": "ev", "forces": "ev/angstrom"},
        "levels": {"pbe0+mbd": {"energy": "ePBE0+MBD", "forces": "totFOR"}},
    }
    with pytest.raises(DataError, match="one frame in each group"):
        open_dataset(tmp_path / "qm7x.hdf5", spec)


def test_aimnet2(tmp_path, values):
    with h5py.File(tmp_path / "aimnet2.h5", "w") as handle:
        group = handle.create_group("003")
        group["numbers"] = np.stack([WATER] * 4)
        group["coord"] = values[0]
        group["charge"] = np.array([0.0, 0.0, 1.0, -1.0])
        group["energy"] = values[1]
        group["forces"] = values[2]
    dataset = open_dataset(tmp_path / "aimnet2.h5", "aimnet2", level="b97-3c")
    check(dataset, values, "b97-3c")
    assert [frame.system.charge for frame in dataset.read(range(4))] == [0, 0, 1, -1]


def physnet_arrays(values):
    """Five padded places, of which three are used, and energies relative to free atoms."""
    free = (-74.959294141352 - 2 * 0.499821176024) * Hartree
    padded = np.zeros((4, 5, 3))
    padded[:, :3] = values[0]
    forces = np.full((4, 5, 3), np.nan)
    forces[:, :3] = values[2]
    return {
        "N": np.full(4, 3),
        "Z": np.stack([np.array([8, 1, 1, 0, 0])] * 4),
        "R": padded,
        "E": values[1] - free,
        "F": forces,
        "Q": np.zeros(4),
        "D": np.zeros((4, 3)),
    }


def test_physnet_adds_the_free_atoms(tmp_path, values):
    np.savez(tmp_path / "water.npz", **physnet_arrays(values))
    with pytest.raises(DataError, match="does not describe itself"):
        open_dataset(tmp_path / "water.npz")
    with pytest.raises(UnknownLevelError, match=r"name it with level=.*mp2/aug-cc-pvtz"):
        open_dataset(tmp_path / "water.npz", "physnet")
    with pytest.raises(UnknownLevelError, match="describe the file yourself"):
        open_dataset(tmp_path / "water.npz", "physnet", level="mp2/cc-pvdz")
    dataset = open_dataset(tmp_path / "water.npz", "physnet", level="MP2/aug-cc-pVTZ")
    check(dataset, values, "mp2/aug-cc-pvtz")
    assert dataset.group_names == ("H2O",)
    assert dataset.levels["mp2/aug-cc-pvtz"].isolated_atoms[1] == pytest.approx(-13.60082, abs=1e-4)


def test_a_free_atom_that_is_missing(tmp_path, values):
    arrays = physnet_arrays(values)
    arrays["Z"][:, 0] = 16
    np.savez(tmp_path / "h2s.npz", **arrays)
    with pytest.raises(DataError, match="gives no isolated_atoms for S"):
        open_dataset(tmp_path / "h2s.npz", "physnet", level="mp2/aug-cc-pvtz")


def xyz(values, energy, forces, comment=""):
    lines = []
    for positions, e, f in zip(*values, strict=True):
        lines += [
            "3",
            f"Properties=species:S:1:pos:R:3:{forces}:R:3 {energy}={float(e)!r} {comment}",
        ]
        for symbol, x, y in zip("OHH", positions, f, strict=True):
            lines.append(" ".join([symbol, *(repr(float(v)) for v in (*x, *y))]))
    return "\n".join(lines) + "\n"


ISOLATED = "1\nProperties=species:S:1:pos:R:3 {} config_type={}\n{} 0 0 0\n"


@pytest.mark.parametrize(
    ("energy", "forces", "keys"),
    [
        ("energy", "forces", None),
        ("REF_energy", "REF_forces", None),
        ("E_dft", "F_dft", {"energy": "E_dft", "forces": "F_dft"}),
    ],
)
def test_extxyz(tmp_path, values, energy, forces, keys):
    text = ISOLATED.format(f"{energy}=-13.6", "IsolatedAtom", "H")
    text += xyz(values, energy, forces, "temperature=300 charge=-1 spin=2")
    text += ISOLATED.format(f"{energy}=-2040", "isolated_atom", "O")
    path = tmp_path / "water.xyz.xz"
    path.write_bytes(lzma.compress(text.encode()))
    with pytest.raises(UnknownLevelError, match="does not say which level"):
        open_dataset(path, keys=keys)
    dataset = open_dataset(path, level="PBE", keys=keys)
    check(dataset, values, "pbe")
    assert dataset.levels["pbe"].isolated_atoms == {1: -13.6, 8: -2040.0}
    frame = dataset.read([1])[0]
    assert (frame.group, frame.name) == ("H2O", "water.xyz.xz[2]")
    assert (frame.system.charge, frame.system.spin) == (-1, 2)
    assert dataset.column("temperature").tolist() == [300] * 4


def test_extxyz_mistakes(tmp_path, values):
    path = tmp_path / "water.xyz"
    path.write_text(xyz(values, "E_dft", "F_dft"))
    with pytest.raises(DataError, match="the file has E_dft"):
        open_dataset(path, level="pbe")
    with pytest.raises(DataError, match="no frame has energy under E_dtf"):
        open_dataset(path, level="pbe", keys={"energy": "E_dtf"})
    with pytest.raises(ConfigError, match="did you mean 'energy'"):
        open_dataset(path, level="pbe", keys={"enrgy": "E_dft"})
    path.write_text(xyz(values, "energy", "forces", "REF_energy=3.0"))
    with pytest.raises(DataError, match="has 'energy' and 'REF_energy'"):
        open_dataset(path, level="pbe")
    path.write_text(xyz(values, "energy", "forces", "E_text=high"))
    with pytest.raises(DataError, match="'E_text' is 'high', expected numbers"):
        open_dataset(path, level="pbe", keys={"energy": "E_text"})
    path.write_text("3\nno frame\nH 0 0")
    with pytest.raises(DataError, match="not complete extended XYZ"):
        open_dataset(path, level="pbe")
    path.write_text(ISOLATED.format("energy=-1", "isolated_atom", "H"))
    with pytest.raises(DataError, match="no frames"):
        open_dataset(path, level="pbe")


def test_stress_and_cell_of_a_periodic_frame(tmp_path):
    path = tmp_path / "crystal.xyz"
    path.write_text(
        '1\nLattice="3 0 0 0 4 0 0 1 5" Properties=species:S:1:pos:R:3 energy=-1 pbc="T T T" '
        'stress="1 6 5 6 2 4 5 4 3"\nH 0 0 0\n'
    )
    (frame,) = open_dataset(path, level="pbe").read([0])
    assert frame.system.pbc.tolist() == [True, True, True]
    assert frame.system.cell.tolist() == [[3, 0, 0], [0, 4, 0], [0, 1, 5]]
    assert frame.labels["pbe"].stress.tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]


def test_several_files_are_one_dataset(tmp_path, values):
    native = native_file(tmp_path / "two.h5")
    np.savez(tmp_path / "water.npz", **physnet_arrays(values))
    source = Source(path=tmp_path / "water.npz", spec="physnet", level="mp2/aug-cc-pvtz")
    dataset = open_dataset([native, source])
    assert len(dataset) == 16
    assert set(dataset.levels) == {"gfn2-xtb", "ccsd(t)/cbs", "mp2/aug-cc-pvtz"}
    assert dataset.labelled("gfn2-xtb").tolist() == [True] * 12 + [False] * 4
    assert set(dataset.group_names) == {"water", "hydrogen", "H2O"}
    names = [frame.name for frame in dataset.read([15, 0, 6])]
    assert names == ["water.npz[3]", "two.h5:/hydrogen[0]", "two.h5:/water[0]"]
    np.testing.assert_allclose(dataset.read([13])[0].system.positions, values[0][1])
    assert dataset.content_hash != open_dataset(native).content_hash
    with pytest.raises(DataError, match="outside"):
        dataset.read([16])


def test_same_name_for_different_molecules_is_qualified(tmp_path):
    for name, numbers in (("a", [8, 1, 1]), ("b", [1, 1])):
        with h5py.File(tmp_path / f"{name}.h5", "w") as handle:
            group = handle.create_group("mol0")
            group["species"] = np.array(numbers)
            group["coordinates"] = np.zeros((2, len(numbers), 3))
            group["energies"] = np.zeros(2)
    dataset = open_dataset([tmp_path / "a.h5", tmp_path / "b.h5"], "ani1")
    assert dataset.group_names == ("mol0", "b.h5/mol0")
    assert dataset.read([3])[0].group == "b.h5/mol0"


def test_conflicting_free_atoms_are_refused(tmp_path, values):
    for name, energy in (("a", -13.6), ("b", -13.5)):
        text = xyz(values, "energy", "forces")
        text += ISOLATED.format(f"energy={energy}", "isolated_atom", "H")
        (tmp_path / f"{name}.xyz").write_text(text)
    with pytest.raises(DataError, match="same level of theory"):
        open_dataset([tmp_path / "a.xyz", tmp_path / "b.xyz"], level="pbe")


def test_paths_that_cannot_be_opened(tmp_path):
    for name, spec in (("a.h5", None), ("a.h5", "ani1x"), ("a.npz", "physnet"), ("a.xyz", None)):
        with pytest.raises(DataError, match="no such file"):
            open_dataset(tmp_path / name, spec, level=None if "h5" in name else MP2)
    with pytest.raises(DataError, match="is a folder"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="no files"):
        open_dataset([])
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match="not a complete npz"):
        open_dataset(tmp_path / "text.npz", "physnet", level=MP2)


def test_columns_and_files_without_labels_when_the_description_says_so(tmp_path):
    (tmp_path / "bare.yaml").write_text(
        "container: hdf5\nunits: {coordinates: angstrom, energy: ev}\n"
        "columns: [trajectory]\nunlabelled: true\n"
    )
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        group = handle.create_group("water")
        group["atomic_numbers"], group["coordinates"] = WATER, water_frames(4)
        group["trajectory"] = [b"a", b"a", b"b", b"b"]
    dataset = open_dataset(tmp_path / "a.h5", tmp_path / "bare.yaml")
    assert dataset.levels == {}
    assert dataset.unused_keys == ()
    split = make_split(dataset, by="trajectory", validation=0, test=["b"])
    assert split.test.tolist() == [2, 3]


def molecular_dynamics(**others):
    rng = np.random.default_rng(0)
    return {
        "z": np.array([8, 1, 1], dtype="u1"),
        "R": [[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]] + rng.normal(size=(4, 3, 3)) / 50,
        "E": -47930.0 + rng.normal(size=(4, 1)),
        "F": rng.normal(size=(4, 3, 3)),
        "theory": np.array("PBE+vdW-TS"),
        **others,
    }  # fmt: skip


@pytest.mark.fault
def test_md17_and_its_revision_are_read_in_kcal_per_mol(tmp_path):
    arrays = molecular_dynamics(e_unit=np.array("kcal/mol"), r_unit=np.array("Ang"))
    np.savez(tmp_path / "md17.npz", **arrays)
    dataset = open_dataset(tmp_path / "md17.npz", "md17", level="pbe-ts")
    (frame,) = dataset.read([2])
    assert frame.labels["pbe-ts"].energy == pytest.approx(arrays["E"][2, 0] * kcal / mol, rel=1e-12)
    assert np.allclose(frame.labels["pbe-ts"].forces, arrays["F"][2] * kcal / mol, rtol=1e-12)
    assert not dataset.problems
    names = {"z": "nuclear_charges", "R": "coords", "E": "energies", "F": "forces"}
    revised = {names[key]: value for key, value in arrays.items() if key in names}
    np.savez(tmp_path / "rmd17.npz", **revised | {"old_energies": arrays["E"], "old_indices": [0]})
    (again,) = open_dataset(tmp_path / "rmd17.npz", "rmd17").read([2])
    assert again.labels["pbe/def2-svp"].energy == frame.labels["pbe-ts"].energy


@pytest.mark.fault
def test_a_unit_that_the_file_names_otherwise_is_refused(tmp_path):
    np.savez(tmp_path / "md22.npz", **molecular_dynamics(e_unit=np.array("eV")))
    with pytest.raises(DataError, match="e_unit says that the unit of energy is 'eV'"):
        open_dataset(tmp_path / "md22.npz", "md17", level="pbe-mbd")


@pytest.mark.fault
def test_a_file_that_does_not_describe_itself_is_told_what_fits(tmp_path, values):
    np.savez(tmp_path / "a.npz", **molecular_dynamics())
    with pytest.raises(DataError, match=r"arrays E, F, R, theory, z, .* with spec='md17'"):
        open_dataset(tmp_path / "a.npz")
    with h5py.File(tmp_path / "loose.h5", "w") as file:
        group = file.create_group("water")
        group["species"], group["coordinates"] = ["O", "H", "H"], np.zeros((1, 3, 3))
        group["energies"] = [-76.0]
    with pytest.raises(DataError, match=r"arrays coordinates, energies, species, .*spec='ani1'"):
        open_dataset(tmp_path / "loose.h5")
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["Z"], file["xyz"] = [1, 1], np.zeros((1, 2, 3))
    with pytest.raises(DataError, match="which no shipped description fits"):
        open_dataset(tmp_path / "own.h5")
