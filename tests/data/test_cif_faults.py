"""CIFs that were read as other structures than they describe, without a word."""

import numpy as np
import pytest
from ase.io import write
from ase.spacegroup import Spacegroup, crystal

from tlpot.data.cif_files import cif_structures
from tlpot.errors import DataError
from tlpot.structures import read_all

CUBE = (5.43, 5.43, 5.43, 90, 90, 90)
CORUNDUM = (4.7607, 4.7607, 12.9947, 90, 90, 120)
ALUMINA = ("Al1 Al 0 0 0.35219", "O1 O 0.30627 0 0.25")


def operations(number):
    """As a CIF lists them."""
    found = []
    for rotation, shift in Spacegroup(number, 1).get_symop():
        rows = []
        for row, x in zip(rotation, shift, strict=True):
            terms = "".join(
                ("+" if c > 0 else "-") + a for c, a in zip(row, "xyz", strict=True) if c
            )
            rows.append(f"{terms}+{round(24 * x)}/24" if x else terms)
        found.append(f"'{','.join(rows)}'")
    return found


def written(path, cell, group, number, sites, *, types=True, symmetry=False, **tags):
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_x", *(f"_cell_{k} {v}" for k, v in zip(names, cell, strict=True))]
    lines += [f"_symmetry_space_group_name_H-M '{group}'"] * bool(group)
    lines += [f"_symmetry_Int_Tables_number {number}"] * bool(number)
    lines += [f"_{key} '{value}'" for key, value in tags.items()]
    if symmetry:
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *operations(int(number))]
    columns = ["label", "type_symbol", "fract_x", "fract_y", "fract_z"]
    sites = [site.split() for site in sites]
    if not types:
        columns.remove("type_symbol")
        sites = [[label, *rest] for label, _, *rest in sites]
    lines += ["loop_", *(f"_atom_site_{name}" for name in columns), *map(" ".join, sites)]
    path.write_text("\n".join(lines) + "\n")
    return path


REFUSED = {
    "rhombohedral operations on hexagonal axes": (
        (CORUNDUM, "R -3 c", 167, ALUMINA), {"symmetry_cell_setting": "trigonal"}, "cell",
    ),
    "which origin": ((CUBE, "F d -3 m", 227, ["Si1 Si 0.125 0.125 0.125"]), {}, "origin"),
    "stated in a way that ASE passes over": (
        (CUBE, "F d -3 m :2", 227, ["Si1 Si 0.125 0.125 0.125"]), {}, "origin",
    ),
    "Na or N": (
        (CUBE, "F m -3 m", 225, ["NA1 Na 0 0 0", "CL1 Cl 0.5 0.5 0.5"]), {"types": False},
        "Na or N",
    ),
    "hydrogen that was not found": (
        (CUBE, "P 1", 1, ["O1 O 0 0 0", "C1 C 0.5 0.5 0.5"]),
        {"chemical_formula_sum": "C H4 O"}, ": H is missing",
    ),
    "unknown symmetry": ((CUBE, "?", "?", ["Si1 Si 0 0 0"]), {}, "unknown"),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_another_structure_is_refused(tmp_path, name):
    """Silicon of twice the density and CN in place of NaCl were predicted for in silence."""
    given, options, message = REFUSED[name]
    path = written(tmp_path / "a.cif", *given, **options)
    with pytest.raises(DataError, match=message):
        cif_structures(path)


@pytest.mark.fault
def test_a_question_mark_is_no_space_group(tmp_path):
    """A number that was left open ended in "invalid literal for int()"."""
    path = written(tmp_path / "a.cif", CUBE, "P m -3 m", "?", ["Cs1 Cs 0 0 0"])
    assert len(cif_structures(path)[0]) == 1


@pytest.mark.fault
def test_partial_occupancies_of_a_single_file_are_refused_too(tmp_path):
    """`tlpot predict` refused them in a folder, and averaged structures of a file passed."""
    atoms = crystal("Si", [(0, 0, 0)], spacegroup=221, cellpar=CUBE)
    write(tmp_path / "a.cif", atoms)
    text = (tmp_path / "a.cif").read_text()
    assert " 1.0" in text
    (tmp_path / "b.cif").write_text(text.replace(" 1.0000", " 0.5000").replace(" 1.0\n", " 0.5\n"))
    assert len(read_all(tmp_path / "a.cif")) == 1
    with pytest.raises(DataError, match=r"occupied by 0\.5"):
        read_all(tmp_path / "b.cif")


SOUND = {
    "operations": ((CORUNDUM, "R -3 c", 167, ALUMINA), {"symmetry": True}, 30),
    "operations and a setting": (
        (CORUNDUM, "R -3 c", 167, ALUMINA),
        {"symmetry": True, "symmetry_cell_setting": "trigonal"}, 30,
    ),
    "a group": ((CORUNDUM, "R -3 c", 167, ALUMINA), {"chemical_formula_sum": "Al4 O6"}, 30),
    "an origin by operations": ((CUBE, "F d -3 m", 227, ["Si1 Si 0 0 0"]), {"symmetry": True}, 8),
    "deuterium": (
        (CUBE, "P 1", 1, ["D1 D 0 0 0", "O1 O 0.2 0.2 0.2", "D2 D 0.4 0.4 0.4"]),
        {"chemical_formula_sum": "D2 O"}, 3,
    ),
    "labels alone": (
        (CUBE, "F m -3 m", 225, ["Na1 Na 0 0 0", "Cl1 Cl 0.5 0.5 0.5"]), {"types": False}, 8,
    ),
    "no symmetry": ((CUBE, None, None, ["Si1 Si 0 0 0"]), {}, 1),
}  # fmt: skip


@pytest.mark.control
@pytest.mark.parametrize("name", SOUND)
def test_sound_files_are_read(tmp_path, name):
    given, options, n_atoms = SOUND[name]
    (atoms,) = cif_structures(written(tmp_path / "a.cif", *given, **options))
    assert len(atoms) == n_atoms
    assert atoms.pbc.all()


@pytest.mark.control
def test_a_file_of_several_structures_has_them_all(tmp_path):
    first = written(tmp_path / "a.cif", CUBE, "P 1", 1, ["Si1 Si 0 0 0"]).read_text()
    second = written(tmp_path / "b.cif", CUBE, "P 1", 1, ["Ge1 Ge 0 0 0.5"]).read_text()
    (tmp_path / "c.cif").write_text(first + second.replace("data_x", "data_y"))
    one, two = read_all(tmp_path / "c.cif")
    assert (one.symbols[0], two.symbols[0]) == ("Si", "Ge")
    assert two.positions == pytest.approx(np.array([[0, 0, 2.715]]))
