"""What a build cuts out of structures, and out of frames of their dynamics."""

from dataclasses import replace

import numpy as np
import pytest
from needs import needs

from tlpot.building.config import FragmentSettings
from tlpot.building.structures import (
    Target,
    all_fragments,
    cut_fragments,
    read_atoms,
    sampled_fragments,
    write_atoms,
)
from tlpot.errors import ConfigError, GeometryError
from tlpot.fragments import choose_scheme
from tlpot.structures import build_peptide
from tlpot.topology import perceive_topology

MFCC = choose_scheme("mfcc")
DIMERS = choose_scheme("mfcc_mbe2")


def stretched(target, atom, factor):
    """The first conformation, with one hydrogen further from the atom that it is bound to."""
    frame = target.frames[0].copy()
    other = next(
        int(x) for pair in target.topology.bonds if atom in pair for x in pair if x != atom
    )
    bond = frame.positions[atom] - frame.positions[other]
    frame.positions[atom] = frame.positions[other] + factor * bond
    return frame


def refused(frame):
    try:
        perceive_topology(frame)
    except GeometryError:
        return True
    return False


@pytest.mark.parametrize("scheme", [MFCC, DIMERS], ids=["mfcc", "dimers"])
def test_a_frame_with_a_stretched_bond_is_cut_as_the_structure_is(scheme):
    target = Target.of("A5", [build_peptide("AAAAA", conformation="helix")])
    usual = {atoms.info["molecule"] for atoms in cut_fragments([target], scheme)}
    frames = [
        frame
        for atom in np.flatnonzero(target.frames[0].numbers == 1)
        for frame in [stretched(target, int(atom), 1.35)]
        if refused(frame)
    ]
    assert len(frames) > 3
    for frame in frames[:4]:
        found = list(cut_fragments([replace(target, frames=(frame,))], scheme))
        assert {atoms.info["molecule"] for atoms in found} == usual
        assert any(atoms.info["first"] for atoms in found) == (scheme is DIMERS)


def test_a_frame_with_a_broken_bond_is_refused():
    target = Target.of("AA", [build_peptide("AA")])
    atom = int(np.flatnonzero(target.frames[0].numbers == 1)[0])
    with pytest.raises(GeometryError, match="frame 0 of AA"):
        list(cut_fragments([replace(target, frames=(stretched(target, atom, 4.0),))], MFCC))


@pytest.mark.parametrize("older", [False, True])
def test_dimers_to_sample_know_the_charges_of_their_molecules(tmp_path, older):
    target = Target.of("KAAAD", [build_peptide("KAAAD", conformation="helix")])
    frames = all_fragments(FragmentSettings(), [target], DIMERS)
    for frame in frames if older else ():
        frame.info.pop("pair_charges", None)
    write_atoms(frames, tmp_path / "f.xyz")
    read = sampled_fragments(read_atoms(tmp_path / "f.xyz"))
    pairs = [each.partners for each in read if each.partners is not None]
    charges = {tuple(sorted(part.info["charge"] for part in pair)) for pair in pairs}
    assert (-1, 1) in charges


def test_molecules_by_smiles_keep_it_through_a_file(tmp_path):
    needs("rdkit")
    settings = FragmentSettings(source="CC(=O)NC", pairs=("[NH4+]+F/C=C/F",))
    write_atoms(all_fragments(settings, [], MFCC), tmp_path / "f.xyz")
    molecule, pair = sampled_fragments(read_atoms(tmp_path / "f.xyz"))
    assert molecule.atoms.info["smiles"] == "CC(=O)NC"
    assert (pair.name, pair.atoms.info["smiles"]) == ("[NH4+]+F|C=C|F", "[NH4+].F/C=C/F")
    assert [part.info["charge"] for part in pair.partners] == [1, 0]
    with pytest.raises(ConfigError, match="of 3 molecules"):
        all_fragments(FragmentSettings(source="O.O.O"), [], MFCC)
