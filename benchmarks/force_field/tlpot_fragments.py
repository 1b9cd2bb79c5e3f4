"""How the shipped tlpot-fragments was made: python tlpot_fragments.py STEP --out DIR.

STEP is one of, in this order (each goes on where it was stopped):

sample    500 geometries of each capped residue, of its other protonation states and of the cap,
          with GFN2-xTB energies and forces
peptides  snapshots of built peptides (ff14SB, GBn2, 300 K), among them some with other protonation
          states and with charged ends, and their mfcc_mbe2 fragments, labelled with GFN2-xTB, so
          that hydrogen bonds and dimers are known
pretrain  the network on GFN2-xTB; it reads no charges, because a fragment's charge follows from its
          atoms, and a protein's total charge means nothing to a local model
energies  the same network for six more epochs with squared errors, because Huber's loss leaves
          energies of rare protonation states (LYN, CYM, HIP) eV away, as its gradient does not
          grow; and for four with squared errors of energies and Huber's loss for the forces
high      eight geometries of each of them in turns at PBE-D3(BJ)/def2-SVP; stop it when you like
finetune  both levels in one file (replay by default, see --strategy)

Needs the extras xtb, pyscf and prep.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import h5py
import numpy as np
from ase import Atoms
from ase.io import read, write

sys.path.insert(0, str(Path(__file__).parent.parent / "fragments"))
import snapshots

from tlpot.errors import TLPotError
from tlpot.fragments import ProteinFrames, export_fragments
from tlpot.structures import build_peptide

LOW, HIGH = "gfn2-xtb", "pbe-d3bj/def2-svp"
SEQUENCES = (
    "AKDFG", "VLEYS", "GWTNA", "IQMHR", "CAPGF", "SDRLA",
    "AANAK", "TVIYE", "GGAAA", "AAAAAA", "WKEAL", "NGDPT",
    "ALA-ASH-GLY-GLH-LEU", "TYR-GLH-THR-ASH-TRP", "SER-HIP-ALA-HID-VAL", "LYN-ASN-CYM-ILE-GLN",
    "THR-ASH-PRO-GLH-GLY", "PHE-GLH-SER-LYN-ASH",
)  # fmt: skip
CHARGED_ENDS = ("GAKS", "YDAG", "VERT")
WIDE = ("training.loss.energy=200", "training.loss.energy_delta=0.5", "training.loss.forces=10")
SQUARES = ("training.loss.kind=mse", "training.loss.energy=100", "training.loss.forces=10")
STATES = ("ASH", "GLH", "LYN", "CYM", "TYM", "HID", "HIP")


def tlpot(*arguments: str, folder: Path) -> None:
    command = [sys.executable, "-m", "tlpot.cli", *arguments]
    print("tlpot", *arguments, flush=True)
    subprocess.run(command, cwd=folder, check=True)


def sample(out: Path, options: argparse.Namespace) -> None:
    common = ("--interval", "10", "--workers", str(options.workers))
    tlpot("sample", "residues", "--budget", "500", "--pool", "1.2", "--seed", "1", *common,
          "-o", "residues.h5", folder=out)  # fmt: skip
    tlpot("sample", *(f"ACE-{name}-NME" for name in STATES), "--budget", "500", "--pool", "1.2",
          "--seed", "3", *common, "-o", "states.h5", folder=out)  # fmt: skip
    # the cap is so small that most of a pool of 1.2 times the budget is lost or alike
    tlpot("sample", "ACE-NME", "--budget", "230", "--pool", "4", "--interval", "20", "--seed", "2",
          "-o", "cap.h5", folder=out)  # fmt: skip


def peptides(out: Path, options: argparse.Namespace) -> None:
    folder = out / "peptides"
    folder.mkdir(exist_ok=True)
    jobs = [(sequence, "ACE", "NME") for sequence in SEQUENCES]
    jobs += [(sequence, "NH3+", "COO-") for sequence in CHARGED_ENDS]
    for sequence, n_cap, c_cap in jobs:
        residues = sequence.split("-") if "-" in sequence else sequence
        for conformation in ("helix", "strand", "ppii"):
            name = f"{sequence}-{conformation}"
            bent = conformation == "helix" and ("P" in residues or "PRO" in residues)
            if (folder / f"{name}.xyz").exists() or bent:
                continue
            try:
                built = build_peptide(residues, conformation=conformation, n_cap=n_cap, c_cap=c_cap)
                snapshots.run(name, built, 4, folder, 0.5)
            except TLPotError as error:
                print(f"{name} left out: {error}")
    proteins = [
        ProteinFrames(name=path.stem, frames=read(path, ":"))
        for path in sorted(folder.glob("*.xyz"))
    ]
    if not (out / "pairs.h5").exists():
        print(
            export_fragments(proteins, "mfcc_mbe2", out / "pairs.h5", per_kind=12, select="random")
        )
    tlpot("label", "pairs.h5", "--engine", "gfn2-xtb", "max_iterations=1000",
          "-o", "pairs_gfn2.h5", folder=out)  # fmt: skip


def pretrain(out: Path, options: argparse.Namespace) -> None:
    config = Path(__file__).parent.parent / "configs" / "tlpot-fragments.yaml"
    resume = (out / "fragments-gfn2.run" / "checkpoint.safetensors").exists()
    tlpot("train", str(config.resolve()), *(["--resume"] if resume else []), folder=out)


def energies(out: Path, options: argparse.Namespace) -> None:
    files = "residues.h5, states.h5, cap.h5, pairs_gfn2.h5"
    for parent, made, epochs, loss in (
        ("fragments-gfn2", "fragments-squares", 6, SQUARES),
        ("fragments-squares", "fragments", 4, WIDE),
    ):
        tlpot("finetune", f"{parent}.safetensors", "residues.h5", "--level", LOW,
              "--strategy", "full", "-o", f"{made}.safetensors", f"data.files=[{files}]",
              "data.charges=ignore", "split.file=fragments-gfn2.run/split.json", *loss,
              f"training.epochs={epochs}", "training.batch_size=16",
              "training.learning_rate=0.003", "training.ema=0.998", "report.enabled=false",
              folder=out)  # fmt: skip


def high(out: Path, options: argparse.Namespace) -> None:
    if not (out / "high.xyz").exists():
        rng = np.random.default_rng(7)
        chosen: dict[str, list[Atoms]] = {}
        for file in ("residues.h5", "states.h5"):
            with h5py.File(out / file) as handle:
                for name, group in handle.items():
                    chosen[name] = _geometries(name, group, rng)
        names = sorted(chosen, key=lambda name: len(chosen[name][0]))
        frames = [chosen[name][k] for k in range(8) for name in names]
        write(out / "high.xyz", frames, format="extxyz")
    tlpot("label", "high.xyz", "--engine", f"pyscf:{HIGH}", "grid=1", "grid_response=false",
          "--workers", str(options.workers), "-o", "high.h5", folder=out)  # fmt: skip


def _geometries(name: str, group: h5py.Group, rng: np.random.Generator) -> list[Atoms]:
    count = len(group["coordinates"])
    charge = group["charge"][()] if "charge" in group else 0
    charge = np.broadcast_to(charge, count)
    return [
        Atoms(group["atomic_numbers"][:], group["coordinates"][k],
              info={"charge": int(charge[k]), "molecule": name})
        for k in rng.choice(count, 8, replace=False)
    ]  # fmt: skip


def finetune(out: Path, options: argparse.Namespace) -> None:
    settings = []
    if options.strategy == "replay":
        files = "residues.h5, states.h5, pairs_gfn2.h5"
        settings = [f"strategy.files=[{files}]", "strategy.share=0.4", "strategy.weight=3"]
    tlpot("finetune", "fragments.safetensors", "high.h5", "--level", HIGH,
          "--strategy", options.strategy, "-o", "tlpot-fragments.safetensors",
          "split.by=random", "split.validation=0.1", "split.test=0.2", "data.charges=ignore",
          "training.epochs=400", *WIDE, *settings, folder=out)  # fmt: skip


STEPS = {f.__name__: f for f in (sample, peptides, pretrain, energies, high, finetune)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--strategy", default="replay")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    STEPS[options.step](options.out, options)


if __name__ == "__main__":
    main()
