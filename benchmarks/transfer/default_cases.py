"""Small transfers on which the default training is judged (`defaults.py`).

Data: Käser et al., doi:10.1021/acs.jctc.1c00249 (vpt2-tl); Batatia et al., arXiv:2205.06643
(acac); `teachers/peptides` and the labels of ``mixed.h5`` were computed for this project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
from acetylacetone import PBE, TEST, write_acetylacetone
from mixed_labels import HELD_OUT as MIXED_TEST
from mixed_labels import PBE as PBE_SVP
from mixed_labels import write_mixed
from surfaces import CC, MP2, write_surface

from tlpot.files import atomic_file
from tlpot.models import LIBRARY

GFN2, AIMNET2, ANI = "gfn2-xtb", "aimnet2", "ani-1ccx"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A transfer, or a training from scratch, with frames that only the test sees.

    Attributes:
        data: name of the file, written by `write`; an absolute path is there already.
        level: to learn.
        parent: shipped model, or the name of a file that `pretraining` makes; None for a
            training from scratch.
        split: of the labels.
        write: makes the data from the folder of public data; None if it ships.
        pretraining: settings of the parent's training, beside its data.
        training: what differs from the defaults, because the defaults would take hours.
        low: level that `delta` and `multihead` have labels of; None if there is none.
        settings: further settings of the data.
        has_forces: whether the labels have any; the weights of a loss say nothing without.
    """

    data: str
    level: str
    parent: str | None
    split: Mapping[str, Any]
    write: Callable[[Path, Path], None] | None = None
    pretraining: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    low: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    has_forces: bool = True


def _surface(folder: Path, path: Path) -> None:
    write_surface("H2CO", folder / "vpt2-tl", path)


def _acetylacetone(folder: Path, path: Path) -> None:
    write_acetylacetone(folder / "acac", path)


def _peptides(folder: Path, path: Path) -> None:
    """Every tenth molecule of the peptides' file, with all its frames."""
    with (
        h5py.File(folder / "teachers" / "peptides" / "peptides.h5") as source,
        atomic_file(path) as temporary,
        h5py.File(temporary, "w") as target,
    ):
        target.attrs.update(source.attrs)
        for name in sorted(source)[::10]:
            source.copy(name, target)


_H2CO = {
    "data": "h2co.h5",
    "write": _surface,
    "level": CC,
    "low": MP2,
    "parent": "h2co-parent",
    "pretraining": {
        "level": MP2,
        "split": {"by": "random", "validation": 50, "test": 351},
        "training": {"epochs": 60},
    },
}
_ACAC = {
    "data": "acac.h5",
    "write": _acetylacetone,
    "level": PBE,
    "low": GFN2,
    "parent": "acac-parent",
    "pretraining": {
        "level": GFN2,
        "split": {"by": "random", "validation": 50, "test": [TEST]},
        "training": {"epochs": 30, "batch_size": 8},
    },
}
_MIXED = {
    "data": "mixed.h5",
    "write": write_mixed,
    "level": PBE_SVP,
    "parent": "tlpot-tiny",
    "low": GFN2,
}
_QM = {
    "data": str(LIBRARY / "tlpot-qm.h5"),
    "level": "ccsd(t)/cbs(dt)",
    "parent": "tlpot-tiny",
    "low": "wb97x/6-31g*",
    "has_forces": False,
}
_QM_TEST = ["aziridine", "dimethylamine", "ethanol", "formic_acid", "methanol"]


def _of(n: int, test: Any) -> Mapping[str, Any]:
    """`n` labels in all, of which a tenth decides, as by default."""
    held_out = max(1, round(0.1 * n))
    return {"by": "random", "validation": held_out, "train": n - held_out, "test": test}


CASES: Mapping[str, Case] = {
    "h2co 10": Case(**_H2CO, split=_of(10, 500)),
    "h2co 100": Case(**_H2CO, split=_of(100, 500)),
    "demo 12": Case(**_QM, split=_of(12, _QM_TEST)),
    "demo 48": Case(**_QM, split=_of(48, _QM_TEST)),
    "acac 10": Case(**_ACAC, split=_of(10, [TEST])),
    "acac 450": Case(**_ACAC, split=_of(450, [TEST]), training={"epochs": 15}),
    "mixed 36": Case(**_MIXED, split={"by": "random", "test": [MIXED_TEST]}),
    "mixed 36, other molecules": Case(**_MIXED, split={"by": "molecule", "test": [MIXED_TEST]}),
    "mixed 20": Case(**_MIXED, split=_of(20, [MIXED_TEST])),
    "gfn2 210": Case(
        **{**_MIXED, "level": GFN2, "low": None},
        split=_of(210, [MIXED_TEST]),
        training={"epochs": 25},
    ),
    "peptides": Case(
        data="peptides.h5",
        write=_peptides,
        level=AIMNET2,
        parent=None,
        split={"by": "molecule", "test": 0.1},
        training={"epochs": 10},
        settings={"charges": "ignore"},
    ),
    "peptides 300": Case(
        data="peptides.h5",
        write=_peptides,
        level=ANI,
        parent="peptides-parent",
        pretraining={
            "level": AIMNET2,
            "split": {"by": "molecule", "test": 0.1},
            "training": {"epochs": 10},
        },
        split={"by": "molecule", "test": 0.1, "validation": 30, "train": 270},
        training={"epochs": 30},
        low=AIMNET2,
        settings={"charges": "ignore"},
    ),
}
