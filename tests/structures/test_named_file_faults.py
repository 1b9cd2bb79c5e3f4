"""Files with names of residues: disulfides, insertion codes, and names too long for a PDB."""

import numpy as np
import pytest
from needs import needs

import tlpot
from tlpot.errors import ConfigError, DataError
from tlpot.structures import (
    build_peptide,
    check_structure_format,
    read_structure,
    write_structure,
    write_trajectory,
)

gemmi = needs("gemmi")


def labelled(atoms, chain="A", number=str):
    """A peptide with the labels that a protein file would have given it."""
    arrays = (atoms.arrays[name].tolist() for name in ("residuenames", "residuenumbers"))
    labels = [f"{chain}/{name} {number(n)}" for name, n in zip(*arrays, strict=True)]
    atoms.set_array("residue_label", np.array(labels))
    atoms.set_array("atom_name", atoms.arrays["atomtypes"])
    return atoms


def bridged():
    """Two chains with a disulfide in each, and a water between their records."""
    names = ["ALA", "CYS", "GLY", "GLY", "CYS", "ALA"]
    one = labelled(build_peptide(names, disulfides=[(1, 4)]))
    names[2] = "SER"
    other = labelled(build_peptide(names, disulfides=[(1, 4)]), "B")
    other.positions += [40.0, 0.0, 0.0]
    water = tlpot.structures.read_structure("H2O")
    water.positions += [0.0, 40.0, 0.0]
    water.set_array("residue_label", np.array(["A/HOH 90"] * 3))
    water.set_array("atom_name", np.array(["O", "H1", "H2"]))
    for part in (one, other):
        for name in ("residuenames", "residuenumbers", "atomtypes"):
            del part.arrays[name]
    return one + water + other


@pytest.mark.fault
@pytest.mark.parametrize("ending", ["pdb", "cif"])
def test_disulfides_are_written(tmp_path, ending):
    """They were not, so that cysteines read back from mmCIF were thiolates."""
    path = tmp_path / f"out.{ending}"
    write_structure(bridged(), path)
    found = gemmi.read_structure(str(path))
    ends = [
        {(p.chain_name, p.res_id.seqid.num, p.atom_name) for p in (bond.partner1, bond.partner2)}
        for bond in found.connections
        if bond.type == gemmi.ConnectionType.Disulf
    ]
    assert ends == [{(c, 3, "SG"), (c, 6, "SG")} for c in "AB"]
    again = read_structure(path)
    assert set(again.arrays["residue_label"]) == set(bridged().arrays["residue_label"])


@pytest.mark.fault
@pytest.mark.external
@pytest.mark.filterwarnings("ignore")  # OpenMM imports old packages
@pytest.mark.parametrize("ending", ["pdb", "cif"])
def test_openmm_reads_the_bridges(tmp_path, ending):
    app = needs("openmm.app")
    import openmm

    path = tmp_path / f"out.{ending}"
    write_structure(bridged(), path)
    topology = (app.PDBFile if ending == "pdb" else app.PDBxFile)(str(path)).topology
    names = [{bond[0].name, bond[1].name} for bond in topology.bonds()]
    assert names.count({"SG"}) == 2
    system = app.ForceField("amber14-all.xml", "amber14/tip3p.xml").createSystem(topology)
    (nonbonded,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    charges = [
        nonbonded.getParticleParameters(k)[0]._value for k in range(system.getNumParticles())
    ]
    assert sum(charges) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.fault
@pytest.mark.parametrize("ending", ["pdb", "cif"])
def test_insertion_codes_keep_their_case(tmp_path, ending):
    """52A was written as 52a."""
    codes = {1: "-1", 2: "52", 3: "52A", 4: "52B", 5: "53b"}
    atoms = labelled(build_peptide("ASD"), number=codes.get)
    path = tmp_path / f"out.{ending}"
    write_structure(atoms, path)
    again = read_structure(path)
    assert again.arrays["residue_label"].tolist() == atoms.arrays["residue_label"].tolist()


@pytest.mark.fault
@pytest.mark.parametrize(
    ("chain", "renamed", "said"), [("AAA", "ALA", "chain AAA"), ("A", "A1AAB", "residue A1AAB")]
)
def test_names_that_a_pdb_cannot_hold_are_refused_before_the_work(tmp_path, chain, renamed, said):
    """A relaxation was lost when its end was to be written; long residue names were cut."""
    atoms = labelled(build_peptide("A"), chain)
    labels = np.char.replace(atoms.arrays["residue_label"], "ALA", renamed)
    atoms.arrays["residue_label"] = labels
    path = tmp_path / "in.cif"
    write_structure(atoms, path)
    assert read_structure(path).arrays["residue_label"].tolist() == labels.tolist()
    with pytest.raises(ConfigError, match=f"{said}.*\\.cif"):
        check_structure_format("out.pdb", atoms)
    check_structure_format("out.cif", atoms)

    class Untouched:
        """A calculator that nobody may ask."""

    with pytest.raises(ConfigError, match=said):
        tlpot.relax(path, Untouched(), output=tmp_path / "out.pdb")
    with pytest.raises(ConfigError, match=said):
        write_structure(atoms, tmp_path / "out.pdb")
    assert [p.name for p in tmp_path.iterdir()] == ["in.cif"]


@pytest.mark.fault
@pytest.mark.external
@pytest.mark.filterwarnings("ignore")  # mdtraj's own
def test_a_trajectory_of_long_chain_names_has_its_names_in_an_mmcif(tmp_path):
    """RuntimeError: chain name too long for the PDB format."""
    mdtraj = needs("mdtraj")
    needs("openmm")
    atoms = labelled(build_peptide("A"), "AAA")
    names = write_trajectory([atoms, atoms], tmp_path / "run.dcd")
    assert names == tmp_path / "run.cif"
    found = mdtraj.load(str(tmp_path / "run.dcd"), top=str(names))
    assert (found.n_frames, found.n_atoms) == (2, len(atoms))
    assert {chain.chain_id for chain in found.topology.chains} == {"AAA"}


def test_a_label_without_a_number_is_named(tmp_path):
    atoms = labelled(build_peptide("A"), number=lambda n: "x")
    with pytest.raises(DataError, match="'A/ACE x'"):
        write_structure(atoms, tmp_path / "out.pdb")
