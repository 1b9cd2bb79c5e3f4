"""Makes a set of peptide-like and organic molecules with labels of three teachers, from SMILES.

    peptides.py DIR --frames 50000 --aimnet2 FILE.jpt --ani PYTHON FOLDER --workers 2

AIMNet2 is in the wheel that `pip download --no-deps auto3d==2.3.1` brings; PYTHON has torchani 2.9,
and FOLDER the parameters of ANI-1ccx. Every step is kept: the same command goes on. Molecules of
`molecules.txt` by kind; residues are L. What the geometries are good for and what not: see
docs/sampling.md, "Cheap starts".
"""

import argparse
import os
import re
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
from small_molecules import small_molecules

import tlpot
from tlpot.data import copy_rows, open_dataset
from tlpot.errors import TLPotWarning

HERE = Path(__file__).parent
SHARES = {
    "residue": 0.24, "dipeptide": 0.20, "analogue": 0.064, "complex": 0.136, "water": 0.04,
    "organic": 0.12, "small": 0.20, "made": 0.24, "contact": 0.08, "solvated": 0.05,
}  # fmt: skip
"""Of the geometries; the last three came later, and add to the one of the others."""
LOOSE = ("complex", "water", "contact", "solvated")
"""Kinds of several molecules, which are moved against each other."""
LARGEST = 60
"""Atoms."""
OF_FIVE = 260
"""Of the small molecules of five heavy atoms, so many are drawn."""
MADE, CONTACTS = 1800, 450
"""Molecules put together from a scaffold and substituents, and pairs of molecules."""
MAX_FORCE = 25.0
"""eV/Å at any level."""
FIRST = {"Ace": "CC(=O)", "For": "O=C", "H": "", "H2": ""}
LAST = {"Nme": "NC", "NH2": "N", "OH": "O", "O": "[O-]", "OMe": "OC", "Nme2": "N(C)C"}
ENDS_OF_RARE = {("Ace", "Nme"), ("H", "NH2"), ("Ace", "OH"), ("H", "OH"), ("H2", "O")}
MOVING = ("md=9", "noise=1.5", "downhill=2")


def read_lists():
    """Returns SMILES by name, and these by what they are for."""
    lists = {}
    for line in (HERE / "molecules.txt").read_text().splitlines()[1:]:
        purpose, name, smiles = line.split()
        lists.setdefault(purpose, {})[name] = smiles
    return lists


def peptide(residues, first, names, last):
    """Returns the SMILES of residues between two ends; H2 is a charged amine."""
    body = "".join(residues[name] for name in names)
    for neutral, cation in (("N1", "[NH2+]1"), ("N(C)", "C[NH2+]"), ("N", "[NH3+]")):
        if first == "H2" and body.startswith(neutral):
            return cation + body.removeprefix(neutral) + LAST[last]
    return FIRST[first] + body + LAST[last]


def candidates(seed):
    """Yields kind, name, SMILES and weight of all molecules, some of them drawn at random."""
    lists, rng = read_lists(), np.random.default_rng(seed)
    residues = {
        name: f"N[C@@H]({side})C(=O)" for name, side in (lists["side"] | lists["rare"]).items()
    } | lists["whole"]
    standard = [*lists["side"], "Gly", "Pro"]
    for name, smiles in lists["analogue"].items():
        yield "analogue", name, smiles, 1.5 if "SS" in smiles else 1.0
    for name in residues:
        for ends in ((a, b) for a in FIRST for b in LAST):
            if name in standard or ends in ENDS_OF_RARE:
                usual = 6.0 if name in standard else 2.0
                weight = usual if ends == ("Ace", "Nme") else 1.0
                smiles = peptide(residues, ends[0], [name], ends[1])
                yield "residue", f"{ends[0]}-{name}-{ends[1]}", smiles, weight
    neutral = [n for n in standard if n[-1] not in "+-"]
    pairs = [(a, b) for a in neutral for b in neutral]
    pairs += [tuple(rng.choice([*standard, *lists["rare"]], 2)) for _ in range(140)]
    for pair in pairs:
        yield "dipeptide", "-".join(pair), peptide(residues, "Ace", pair, "Nme"), 1.0
    partners = lists["partner"]
    groups = [(a, b) for i, a in enumerate(partners) for b in list(partners)[i:]]
    groups += [tuple(rng.choice([*partners], 3)) for _ in range(120)]
    groups += [("water", "water", x) for x in partners] + [("nma",) * 3, ("nma", "nma", "water")]
    for group in groups:
        yield "complex", "+".join(group), ".".join(partners[member] for member in group), 1.0
    for n in range(2, 9):
        yield "water", f"h2o-{n}", ".".join("O" * n), 2.0
        for name, ion in (("h3o+", "[OH3+]"), ("oh-", "[OH-]")) if n < 7 else ():
            yield "water", f"{name}{n - 1}", ".".join([ion, *("O" * (n - 1))]), 0.7
    for name, smiles in lists["organic"].items():
        yield "organic", name, smiles, 1.0
    for k in range(240):
        a, b = rng.choice([*lists["group"].values()], 2)
        yield (
            "organic",
            f"made-{k}",
            str(rng.choice([*lists["link"].values()])).format(a=a, b=b),
            1.0,
        )
    small = small_molecules(5)
    for smiles in (*small[1], *small[2], *small[3], *small[4]):
        yield "small", smiles, smiles, 2.0
    for smiles in rng.choice(small[5], OF_FIVE, replace=False):
        yield "small", str(smiles), str(smiles), 1.0
    yield from growth(lists, small, np.random.default_rng([seed, 2]))


def growth(lists, small, rng):
    """Yields decorated scaffolds, pairs of neutral molecules, and molecules with some water."""
    scaffolds, carbons = [*lists["scaffold"].values()], [*lists["substituent"].values()]
    anything = carbons + 2 * [*lists["hetero"].values()]
    for k in range(MADE):
        (a, b, c), n = rng.choice(anything, 3), rng.choice(carbons)
        smiles = str(rng.choice(scaffolds)).format(a=a, b=b, c=c, n=n)
        yield "made", f"scaffold-{k}", smiles, 1.0
    neutral = [s for s in (lists["analogue"] | lists["partner"]).values() if "+]" not in s]
    pool = [s for s in (*neutral, *lists["organic"].values(), *small[4]) if "-]" not in s]
    for k in range(CONTACTS):
        a, b = rng.choice(pool, 2)
        yield "contact", f"{k}", f"{a}.{b}", 1.0
    for name, smiles in lists["partner"].items():
        for number in (2, 4, 6):
            yield "solvated", f"{name}-{number}", ".".join([smiles, *("O" * number)]), 1.0


def plan(frames, seed, fraction, kinds):
    """Returns distinct molecules: kind, name, SMILES and number of geometries of each.

    Molecules are one where their canonical SMILES are, of complexes the sets of these. Complexes of
    ions whose charges add up to more than one are left out.
    """
    from rdkit import Chem, RDLogger

    RDLogger.DisableLog("rdApp.*")  # chance combinations that are no molecules
    found, seen = [], set()
    for kind, name, smiles, weight in candidates(seed):
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or not 1 < Chem.AddHs(molecule).GetNumAtoms() <= LARGEST:
            continue
        charges = [Chem.GetFormalCharge(Chem.MolFromSmiles(part)) for part in smiles.split(".")]
        if np.count_nonzero(charges) > 1 and abs(sum(charges)) > 1:
            continue
        key = ".".join(sorted(Chem.CanonSmiles(part) for part in smiles.split(".")))
        if key not in seen:
            seen.add(key)
            label = (
                f"{kind}-{len(found)}" if kind in ("small", "made") else f"{kind}_{name.lower()}"
            )
            found.append((kind, label, smiles, weight))
    some = np.random.default_rng([seed, 1]).random(len(found)) < fraction
    found = [each for each, kept in zip(found, some, strict=True) if kept]
    total = {kind: sum(w for k, _, _, w in found if k == kind) for kind in SHARES}
    return [
        (kind, name, smiles, max(2, round(frames * SHARES[kind] * weight / total[kind])))
        for kind, name, smiles, weight in found
        if kind in kinds
    ]


def sample_all(folder, planned, aimnet2, seed, workers):
    """Samples the molecules of one kind and number of geometries after each other."""
    files = {}
    for kind, number in sorted({(kind, number) for kind, _, _, number in planned}):
        files[folder / f"{kind}-{number}.h5"] = kind
        target = folder / f"{kind}-{number}.h5"
        members = {n: s for k, n, s, m in planned if (k, m) == (kind, number)}
        if target.exists():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("default", TLPotWarning)
            tlpot.sample(
                members, target, engine="mmff94", budget=number, pool=1.0, window=1.0,
                methods=("scan=9", *MOVING) if kind in LOOSE else ("etkdg=2", *MOVING),
                temperatures="200-500" if kind in LOOSE else "200-1000", interval=100,
                separations=(-0.4, 4.0), downhill=aimnet2, seed=seed, workers=workers,
                skip_failed=True,
            )  # fmt: skip
    return files


def join(files, target):
    """Puts the groups of several files into one, with the kind of each that has none of its own."""
    with h5py.File(target, "w") as out:
        for path, kind in files.items():
            with h5py.File(path) as file:
                out.attrs.update({key: file.attrs[key] for key in file.attrs})
                for name in file:
                    file.copy(name, out)
                    if kind is not None:
                        out[name].attrs["kind"] = kind


def pack(path, target):
    """Writes a file again in a quarter of its size: each array in one piece, forces in float32.

    Files of many small groups are mostly the indices of their arrays; HDF5 1.10 has shorter ones.
    """
    with h5py.File(path) as file, h5py.File(target, "w", libver="v110") as out:
        out.attrs.update(file.attrs)
        for name, group in file.items():
            new = out.create_group(name)
            new.attrs.update(group.attrs)
            for key, data in group.items():
                values = data[()].astype("f4") if key.endswith(".forces") else data[()]
                small = values.size < 2 or key == "atomic_numbers"
                packed = {"compression": "gzip", "shuffle": True, "chunks": values.shape}
                new.create_dataset(key, data=values, **({} if small else packed))
                new[key].attrs.update(data.attrs)


def neutral_hcno(path):
    """Returns the frames that ANI-1ccx describes: H C N O, neutral, and no zwitterions."""
    with h5py.File(path) as file:
        smiles = {name: str(group.attrs.get("smiles", "")) for name, group in file.items()}
        known = {name for name, group in file.items() if group.attrs.get("ions", False)}
    kept = []
    for k, frame in enumerate(open_dataset(path).read(range(len(open_dataset(path))))):
        ions = re.search(r"[+-]\d*\]", re.sub(r"\[N\+\]|\[O-\]", "", smiles[frame.group]))
        if (
            not frame.system.charge
            and not ions
            and frame.group not in known
            and set(frame.system.atomic_numbers) <= {1, 6, 7, 8}
        ):
            kept.append(k)
    return kept


def disagreement(path, one, other):
    """Prints how far two teachers are apart, by kind: kcal/mol without means, and eV/Å."""
    with h5py.File(path) as file:
        kinds = {name: group.attrs["kind"] for name, group in file.items()}
    energies, forces, counts = {}, {}, {}
    dataset, by_molecule = open_dataset(path), {}
    for frame in dataset.read(range(len(dataset))):
        if {one, other} <= frame.labels.keys():
            by_molecule.setdefault(frame.group, []).append(frame.labels)
    for name, labels in by_molecule.items():
        gaps = np.array([each[one].energy - each[other].energy for each in labels])
        slopes = [each[one].forces - each[other].forces for each in labels]
        for kind in (kinds[name], "all"):
            energies.setdefault(kind, []).extend(abs(gaps - gaps.mean()) * 23.0605)
            forces.setdefault(kind, []).append(np.concatenate([x.ravel() for x in slopes]) ** 2)
            counts[kind] = counts.get(kind, 0) + 1
    print(f"{one} against {other}")
    for kind in energies:
        rms = np.sqrt(np.concatenate(forces[kind]).mean())
        print(f"  {kind:10}{counts[kind]:6} molecules{len(energies[kind]):7} frames"
              f"{np.mean(energies[kind]):8.2f} kcal/mol{rms:8.3f} eV/Å")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=50000)
    parser.add_argument("--aimnet2", required=True, metavar="FILE.jpt")
    parser.add_argument("--ani", nargs=2, metavar=("PYTHON", "FOLDER"))
    parser.add_argument("--fraction", type=float, default=1.0, help="of the molecules")
    parser.add_argument("--kinds", nargs="*", choices=[*SHARES], default=[*SHARES])
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="further geometries")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    begun = time.time()

    def say(what):
        print(f"{time.time() - begun:7.0f} s  {what}", flush=True)

    planned = plan(a.frames, a.seed, a.fraction, a.kinds)
    say(f"{len(planned)} molecules, {sum(number for *_, number in planned)} geometries planned")
    aimnet2 = f"torch:{a.aimnet2}"
    files = sample_all(a.folder, planned, aimnet2, a.seed, a.workers)
    everything = a.folder / "everything.h5"
    if not everything.exists():
        join({**files, **dict.fromkeys(a.more)}, everything)
    say(f"{len(open_dataset(everything))} geometries sampled")
    say(tlpot.label(everything, aimnet2, everything, batch=24))
    if a.ani:
        known = a.folder / "neutral.h5"
        copy_rows(everything, known, neutral_hcno(everything))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        ani = f"env:{a.ani[0]} ase:ani_teacher:ANI1ccx(folder={a.ani[1]})"
        say(tlpot.label(known, ani, everything, batch=24))
    say(tlpot.label(everything, "gfn2-xtb", everything, workers=a.workers))
    moderate, chosen = a.folder / "moderate.h5", a.folder / "peptides.h5"
    say(tlpot.select_dataset(everything, moderate, max_force=MAX_FORCE, overwrite=True))
    pack(moderate, chosen)
    say(f"{chosen}: {chosen.stat().st_size / 1e6:.1f} MB")
    for other in ("ani-1ccx", "gfn2-xtb") if a.ani else ("gfn2-xtb",):
        disagreement(chosen, "aimnet2", other)


if __name__ == "__main__":
    main()
