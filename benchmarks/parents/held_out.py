"""Writes a split that keeps the molecules of an earlier one where they were.

    python held_out.py SPLIT.json OLD.h5 [...] -- MORE.h5 [...] > settings.yaml

The validation and test molecules of SPLIT, which divides OLD, stay for what they are, the others in
training, as a model that the training goes on from has learned them; of the molecules of MORE four
in a hundred each are for validation and for the test, and all fragments of peptides that have the
formula of one which is there: they may be the same molecule by another name. What is printed is the
section `split` of a configuration of `tlpot train` for all files together.
"""

import json
import sys

import h5py
import numpy as np
import yaml

from tlpot.data import load_split, open_dataset

SHARE = 0.04


def _formulas(files, names):
    """Returns the elements of molecules of some files, sorted."""
    found = set()
    for file in files:
        with h5py.File(file) as handle:
            for name in set(names) & set(handle):
                found.add(tuple(sorted(handle[name]["atomic_numbers"][()].tolist())))
    return found


def main():
    split_file, *files = sys.argv[1:]
    old_files, more = files[: files.index("--")], files[files.index("--") + 1 :]
    old = open_dataset(old_files)
    split = load_split(split_file, old)
    parts = {
        part: sorted({old.group_names[k] for k in old.group_idx[getattr(split, part)]})
        for part in ("validation", "test")
    }
    formulas = {part: _formulas(old_files, names) for part, names in parts.items()}
    for number, file in enumerate(more):
        with h5py.File(file) as handle:
            names = np.array(sorted(handle))
            fragments = [str(n) for n in names if handle[n].attrs.get("kind") == "fragment"]
        rng = np.random.default_rng(number)
        n = max(1, round(SHARE * len(names)))
        drawn = rng.permutation(names)[: 2 * n].tolist()
        parts["validation"] += drawn[:n]
        parts["test"] += drawn[n:]
        own = {name: next(iter(_formulas([file], [name]))) for name in fragments}
        for name in sorted(set(fragments) - set(drawn)):
            for part in ("test", "validation"):
                if own[name] in formulas[part]:
                    parts[part].append(name)
                    break
        for part, some in (("validation", drawn[:n]), ("test", drawn[n:])):
            formulas[part] |= _formulas([file], some)
    print(yaml.safe_dump({"split": {"by": "molecule", **parts}}))
    print(json.dumps({part: len(names) for part, names in parts.items()}), file=sys.stderr)


if __name__ == "__main__":
    main()
