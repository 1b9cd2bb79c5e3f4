"""mace-torch files against themselves imported into tlpot: python race.py --data DIR --peer PYTHON.

PEER is the Python of an environment with mace-torch; --models is a folder that make_mace.py
wrote. One thread, 27 atoms of DIR/3bpa (https://github.com/davkovacs/BOTNet-datasets) or
192 of water; in turns, each a worker of its own. With --symmetrix PYTHON, an environment in which
symmetrix (https://github.com/wcwitt/symmetrix) is installed beside mace-torch, its serial code
(float64) and its Kokkos code take part; it converts the models first, for H, C, N and O.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
from ase.build import molecule

sys.path.insert(0, str(Path(__file__).parents[1] / "speed"))
from contest import Contestant, check_idle, processor, race, show

HERE = Path(__file__).parent
RACES = {
    "off-small": ("calculator", "float32", 27),
    "off-medium": ("calculator", "float32", 27),
    "off-large": ("calculator", "float32", 27),
    "mp-0": ("calculator", "float32", 27),
    "mpa-0": ("calculator", "float32", 27),
    "omol": ("calculator", "float32", 27),
    "off-medium-train": ("train", "float32", 27),
    "off-medium-water": ("calculator", "float32", 192),
    "off-medium-double": ("calculator", "float64", 27),
}
SYMMETRIX = {"serial": "float64", "kokkos": "float64", "kokkos float32": "float32"}


def water(path: Path) -> Path:
    """Writes 64 molecules of water in a box of 12.42 Å."""
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    box = molecule("H2O")
    box.set_cell([12.42 / 4] * 3)
    box = box.repeat((4, 4, 4))
    box.pbc = True
    box.positions += rng.normal(scale=0.02, size=box.positions.shape)
    ase.io.write(path, box, format="extxyz")
    return path


def converted(model: Path, python: str) -> Path:
    """Returns the model as symmetrix reads it, which takes it a minute or two."""
    target = model.with_suffix(".symmetrix.json")
    if not target.exists():
        call = "from symmetrix.cli.extract_mace import main; main()"
        subprocess.run(
            [python, "-c", call, "-m", model, "-Z", "1", "6", "7", "8", "-o", target], check=True
        )
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--models", type=Path, default=Path("runs/foreign/models"))
    parser.add_argument("--peer", required=True, help="Python of an environment with mace-torch")
    parser.add_argument("--symmetrix", help="Python of an environment with symmetrix, too")
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("races", nargs="*", default=list(RACES))
    options = parser.parse_args()
    if options.data is None:
        raise SystemExit("name the data with --data")
    check_idle()
    print(processor())
    for name in options.races:
        task, dtype, n_atoms = RACES[name]
        frames = Path(options.data) / "3bpa" / "train_300K.xyz"
        if n_atoms == 192:
            frames = water(options.models / "water.xyz")
        base = "-".join(name.split("-")[:2])
        settings = {
            "model": str(options.models / f"{base}.model"), "frames": str(frames), "task": task,
            "n_frames": 5 if task == "train" else 1, "dtype": dtype, "threads": 1,
            "kernels": "compiled",
        }  # fmt: skip
        contestants = [
            Contestant.start("mace-torch", str(HERE / "work_mace.py"), options.peer, **settings),
            Contestant.start(
                "tlpot compiled", str(HERE / "work_imported.py"), sys.executable, **settings
            ),
        ]
        if options.symmetrix and task == "calculator":
            model = converted(options.models / f"{base}.model", options.symmetrix)
            contestants += [
                Contestant.start(
                    f"symmetrix {kind}", str(HERE / "work_symmetrix.py"), options.symmetrix,
                    **settings | {"model": str(model), "dtype": found, "kernels": kind.split()[0]},
                )
                for kind, found in SYMMETRIX.items()
            ]  # fmt: skip
        print(f"\n{name}: {task}, {dtype}, {n_atoms} atoms")
        show(contestants, race(contestants, options.repeats, warm_up=2), "ms", 1e3)
        truth = np.array(contestants[0].facts.get("forces", []))
        for contestant in contestants[1:] if truth.size else ():
            off = np.abs(np.array(contestant.facts["forces"]) - truth).max() / np.abs(truth).max()
            print(f"  forces of {contestant.name}: {off:.0e} of the largest off mace-torch's")


if __name__ == "__main__":
    main()
