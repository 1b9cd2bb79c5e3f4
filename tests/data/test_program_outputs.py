"""Outputs of VASP and of Quantum ESPRESSO, in small files in their layouts."""

import re
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.units import Bohr, GPa, Rydberg

from tlpot.data import open_dataset
from tlpot.errors import DataError

SAMPLES = Path(ase.__file__).parent / "test" / "testdata" / "vasp"


def rows(matrix):
    return "".join(f"<v> {' '.join(f'{x:.8f}' for x in row)} </v>" for row in matrix)


def step(energy, free, forces, kbar, shift):
    return f"""
 <calculation>
  <scstep><energy>
   <i name="e_fr_energy"> {free} </i><i name="e_0_energy"> {energy} </i>
  </energy></scstep>
  <structure>
   <crystal><varray name="basis">{rows(4 * np.eye(3))}</varray></crystal>
   <varray name="positions">{rows([[shift, 0, 0], [0.5, 0.5, 0.5]])}</varray>
  </structure>
  <varray name="forces">{rows(forces)}</varray>
  <varray name="stress">{rows(kbar)}</varray>
  <energy>
   <i name="e_fr_energy"> {free} </i><i name="e_wo_entrp"> {energy} </i>
   <i name="e_0_energy"> {energy} </i>
  </energy>
 </calculation>"""


def vasprun(path, *, smearing=0.0, end="</modeling>", more=""):
    forces, kbar = [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]], [[10, 1, 2], [1, 20, 3], [2, 3, 30]]
    steps = "".join(step(-7 - k, -7 - k - smearing, forces, kbar, 0.01 * k) for k in range(2))
    path.write_text(f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <kpoints>
  <varray name="kpointlist">{rows([[0, 0, 0]])}</varray><varray name="weights"><v> 1 </v></varray>
 </kpoints>
 <parameters><i name="PSTRESS"> 0.0 </i></parameters>
 <atominfo><array name="atoms"><set>
  <rc><c>Na</c><c>1</c></rc><rc><c>Cl</c><c>2</c></rc>
 </set></array></atominfo>
 <structure name="initialpos">
  <crystal><varray name="basis">{rows(4 * np.eye(3))}</varray></crystal>
  <varray name="positions">{rows([[0, 0, 0], [0.5, 0.5, 0.5]])}</varray>
 </structure>{steps}{more}
{end}
""")
    return path


@pytest.mark.fault
def test_all_steps_of_a_vasprun_are_read(tmp_path):
    """Was "not an HDF5 file"."""
    dataset = open_dataset(vasprun(tmp_path / "vasprun.xml"), level="pbe")
    assert len(dataset) == 2
    labels = dataset[1].labels["pbe"]
    assert labels.energy == -8.0
    np.testing.assert_allclose(labels.forces, [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
    # VASP prints what is positive under compression
    expected = -0.1 * GPa * np.array([[10, 1, 2], [1, 20, 3], [2, 3, 30]])
    np.testing.assert_allclose(labels.stress, expected, atol=1e-9)
    np.testing.assert_allclose(dataset[1].system.positions[0], [0.04, 0, 0])
    assert not dataset.problems


def test_smearing_and_a_killed_program_are_told(tmp_path):
    path = vasprun(tmp_path / "vasprun.xml", smearing=0.5)
    (problem, _) = open_dataset(path, level="pbe").problems
    assert "free_energy" in problem.what
    keys = {"energy": "free_energy", "forces": "forces", "stress": "stress"}
    labels = open_dataset(path, level="pbe", keys=keys)[0].labels["pbe"]
    assert labels.energy == -7.5
    assert labels.forces is not None
    path = vasprun(tmp_path / "vasprun_2.xml", end="", more="<calculation><scstep>")
    dataset = open_dataset(path, level="pbe")
    assert len(dataset) == 2
    assert any("ends before" in problem.what for problem in dataset.problems)


def scsteps(*energies):
    return "".join(
        f'<scstep><energy><i name="e_fr_energy"> {e} </i><i name="e_0_energy"> {e} </i>'
        "</energy></scstep>"
        for e in energies
    )


@pytest.mark.fault
def test_a_step_of_a_vasprun_that_did_not_converge_is_left_out(tmp_path):
    """Its energy was a label like any other."""
    path = vasprun(tmp_path / "vasprun.xml")
    head, first, second = path.read_text().split("<calculation>")
    head += '<parameters><i type="int" name="NELM"> 3 </i><i name="EDIFF"> 1e-4 </i></parameters>'
    ended, early = scsteps(-6.9, -6.99999), scsteps(-8.5, -8.2)

    def steps(*more):
        parts = zip(more, (first, second), strict=True)
        path.write_text(head + "".join(f"<calculation>{extra}{text}" for extra, text in parts))

    steps(ended, early)
    dataset = open_dataset(path, level="pbe")
    assert [frame.labels["pbe"].energy for frame in dataset] == [-7.0]
    (problem,) = dataset.problems
    assert problem.severity == "warning"
    assert "1 step whose electrons had not converged" in problem.what
    steps(ended, scsteps(-7.9, -7.99999))
    assert len(open_dataset(path, level="pbe")) == 2
    steps(early, early)
    with pytest.raises(DataError, match="NELM"):
        open_dataset(path, level="pbe")


@pytest.mark.fault
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="ASE is installed without its samples")
@pytest.mark.parametrize("version", [5, 6])
def test_a_step_of_an_outcar_that_did_not_converge_is_left_out(tmp_path, version):
    """The same of OUTCAR, in which VASP 6 says so and VASP 5 only ends without a word."""
    path = tmp_path / "OUTCAR"
    text = (SAMPLES / "OUTCAR_example_1").read_text()
    assert len(open_dataset(SAMPLES / "OUTCAR_example_1", level="pbe")) == 1
    reached = "aborting loop because EDIFF is reached"
    assert reached in text
    if version == 5:
        n = max(int(k) for k in re.findall(r"Iteration +1\( *(\d+)\)", text))
        text = re.sub(r"NELM   = +\d+;", f"NELM   = {n};", text).replace(reached, "")
    else:
        text = text.replace(reached, "aborting loop EDIFF was not reached (unconverged)")
    path.write_text(text)
    with pytest.raises(DataError, match="NELM"):
        open_dataset(path, level="pbe")


def test_an_output_without_a_step_names_the_file(tmp_path):
    path = tmp_path / "vasprun.xml"
    path.write_text("<modeling>")
    with pytest.raises(DataError, match=r"vasprun\.xml"):
        open_dataset(path, level="pbe")
    (tmp_path / "OUTCAR").write_text("vasp.6.4\n")
    with pytest.raises(DataError, match="OUTCAR"):
        open_dataset(tmp_path / "OUTCAR", level="pbe")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="ASE is installed without its samples")
def test_an_outcar_has_its_stress_in_the_order_of_vasp():
    labels = open_dataset(SAMPLES / "OUTCAR_example_1", level="pbe")[0].labels["pbe"]
    assert labels.energy == pytest.approx(-68.23102426)
    kbar = labels.stress / (0.1 * GPa)
    # in kB -4.29429 -4.58894 -4.50342 0.50047 -0.94049 0.36481: XX YY ZZ XY YZ ZX
    np.testing.assert_allclose(np.diag(kbar), [4.29429, 4.58894, 4.50342])
    np.testing.assert_allclose([kbar[0, 1], kbar[1, 2], kbar[0, 2]], [-0.50047, 0.94049, -0.36481])


@pytest.mark.fault
def test_the_output_of_pw_x_is_read(tmp_path):
    """Was "not an HDF5 file"."""
    path = tmp_path / "si.out"
    path.write_text("""
     Program PWSCF v.7.2 starts on 12Jan2024 at 10:11:12

     number of atoms/cell      =            2
     number of atomic types    =            1
     celldm(1)=  10.000000  celldm(2)=   0.000000  celldm(3)=   0.000000

     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.000000 )

     site n.     atom                  positions (alat units)
         1        Si     tau(   1) = (   0.0000000   0.0000000   0.0000000  )
         2        Si     tau(   2) = (   0.2500000   0.2500000   0.2500000  )

!    total energy              =     -15.80000000 Ry

     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.01000000    0.02000000    0.03000000
     atom    2 type  1   force =    -0.01000000   -0.02000000   -0.03000000

     Computing stress (Cartesian axis) and pressure

          total   stress  (Ry/bohr**3)                   (kbar)     P=       73.55
   0.00050000   0.00000000   0.00010000           73.55        0.00       14.71
   0.00000000   0.00050000   0.00000000            0.00       73.55        0.00
   0.00010000   0.00000000   0.00050000           14.71        0.00       73.55

""")
    frame = open_dataset(path, level="pbe")[0]
    labels = frame.labels["pbe"]
    assert labels.energy == pytest.approx(-15.8 * Rydberg)
    np.testing.assert_allclose(labels.forces[0], np.array([1, 2, 3]) * 0.01 * Rydberg / Bohr)
    assert labels.stress[0, 2] == pytest.approx(-1e-4 * Rydberg / Bohr**3)
    np.testing.assert_allclose(frame.system.positions[1], 2.5 * Bohr)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("name", "content", "term"),
    [
        ("a.pkl", b"\x80\x04\x95", "pickle"),
        ("frames.data", b"\x80\x04\x95", "pickle"),
        ("a.parquet", b"PAR1", "pandas"),
        ("a.csv", b"smiles,energy\nCCO,-155.0\n", "pandas"),
        ("train.aselmdb", bytes(64), "AseDBDataset"),
        ("a.xyz.zst", b"\x28\xb5\x2f\xfd", "zstd"),
        ("a.npy", b"\x93NUMPY\x01\x00", "savez"),
        ("gaussian.log", b" Entering Gaussian System", "charge"),
        ("XDATCAR", b"NaCl\n1.0\n", "tlpot label"),
        ("a.mol2", b"@<TRIPOS>MOLECULE", "tlpot label"),
        ("a.engrad", b"# Number of atoms\n", "gradient"),
        ("a.unheard", b"nothing", "ase.io"),
    ],
)
def test_what_is_not_read_leads_to_what_is(tmp_path, name, content, term):
    """Were all told to be read with ASE, which reads hardly any of them."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=term):
        open_dataset(tmp_path / name, level="pbe")
