"""Files of acetylacetone that mace-torch and tlpot both read: python acetylacetone_xyz.py.

Writes into --out, of DIR/acac (https://github.com/davkovacs/BOTNet-datasets): LEVEL-train.xyz (450
frames of train_300K.xyz), LEVEL-valid.xyz (the 50 others), LEVEL-test.xyz (test_MD_300K.xyz) and
LEVEL-train10.xyz, LEVEL-train50.xyz (the first frames of the 450), where LEVEL is gfn2-xtb
(computed here) or pbe-d3 (of the data); and LEVEL-atoms.json, the energies of the free atoms. Keys
are REF_energy and REF_forces, in eV and eV/Å.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from tblite.ase import TBLite

SEED = 1
VALIDATION = 50
SUBSETS = (10, 50)
MULTIPLICITIES = {"H": 2, "C": 3, "O": 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/foreign/acac"))
    options = parser.parse_args()
    if options.data is None:
        raise SystemExit("name the data with --data")
    folder = Path(options.data) / "acac"
    options.out.mkdir(parents=True, exist_ok=True)
    frames = ase.io.read(folder / "train_300K.xyz", index=":")
    test = ase.io.read(folder / "test_MD_300K.xyz", index=":")
    order = np.random.default_rng(SEED).permutation(len(frames))
    train = [frames[k] for k in order[VALIDATION:]]
    valid = [frames[k] for k in order[:VALIDATION]]
    parts = {"train": train, "valid": valid, "test": test}
    parts |= {f"train{n}": train[:n] for n in SUBSETS}
    for name, part in parts.items():
        ase.io.write(options.out / f"pbe-d3-{name}.xyz", [_labelled(a) for a in part])
        ase.io.write(options.out / f"gfn2-xtb-{name}.xyz", [_labelled(_gfn2(a)) for a in part])
    atoms = ase.io.read(folder / "isolated_atoms.xyz", index=":")
    pbe = {int(a.numbers[0]): a.get_potential_energy() for a in atoms}
    gfn2 = {
        int(a.numbers[0]): _gfn2(a, MULTIPLICITIES[a.symbols[0]]).get_potential_energy()
        for a in atoms
    }
    for level, energies in (("pbe-d3", pbe), ("gfn2-xtb", gfn2)):
        (options.out / f"{level}-atoms.json").write_text(json.dumps(energies))


def _gfn2(atoms: Atoms, multiplicity: int = 1) -> Atoms:
    copy = Atoms(atoms.numbers, atoms.positions)
    copy.calc = TBLite(method="GFN2-xTB", multiplicity=multiplicity, verbosity=0)
    return copy


def _labelled(atoms: Atoms) -> Atoms:
    copy = Atoms(atoms.numbers, atoms.positions)
    copy.info["REF_energy"] = atoms.get_potential_energy()
    copy.arrays["REF_forces"] = atoms.get_forces()
    return copy


if __name__ == "__main__":
    main()
