"""Foreign models as parents: labels, two layers, delta learning, coupled cluster on top of them.

python benchmarks/foreign/parents.py FOLDER --aimnet2 FILE.jpt --so3 PYTHON --ani PYTHON
    --ani-models DIR --protein FILE.pdb [--parts label layers coupled-cluster] [--seeds 3]
    [--strategies delta frozen-ridge frozen-gp full]

AIMNet2 runs in this process, SO3LR and ANI-1ccx in environments of their own; docs/foreign.md says
where to get them. FOLDER keeps what was computed, and the same command goes on from it.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
from ase.io import read

import tlpot
from tlpot.calculators import FragmentCalculator, named_calculator
from tlpot.config import to_mapping
from tlpot.data import open_dataset
from tlpot.jobs import finetune, finetune_config
from tlpot.jobs.data_sources import SplitSettings
from tlpot.models import LIBRARY
from tlpot.structures import build_peptide

PARENT, LEVEL, DATA = "tlpot-tiny", "ccsd(t)/cbs(dt)", LIBRARY / "tlpot-qm.h5"
STRATEGIES = ["delta", "frozen-ridge", "frozen-gp", "full"]
HELD_OUT = ["aziridine", "dimethylamine", "ethanol", "formic_acid", "methanol"]
LABELS = 48
"""Of coupled cluster, a fifth of them for validation, as in the demo."""


def division(seed):
    """The demo's: coupled-cluster frames of all molecules but five, which are for testing."""
    return SplitSettings(
        by="random", test=HELD_OUT, validation=LABELS // 5, train=LABELS - LABELS // 5, seed=seed
    )


def label(engines, folder):
    """Labels the frames that the demo tests on."""
    print("\nlabels: frames, seconds for each, largest force (eV/Å)")
    dataset = open_dataset(DATA)
    frames = dataset.read(division(0).divide(dataset, LEVEL).test[::6])
    atoms = [frame.system.to_atoms() for frame in frames]
    for name, engine in engines.items():
        report = tlpot.label(atoms, engine, folder / f"{name}.h5")
        labels = [
            frame.labels[name] for frame in open_dataset(folder / f"{name}.h5").read(range(5))
        ]
        largest = max(np.abs(one.forces).max() for one in labels)
        seconds = report.seconds / max(report.n_labelled, 1)
        print(f"{name:10} {report.n_frames:4} {seconds:8.3f} {largest:8.2f}")


def layers(engines, protein):
    """Puts a protein together: the model in the fragments, GFN2-xTB for the whole."""
    print(
        "\ntwo layers, model in fragments (mfcc_mbe2) over GFN2-xTB, against the model of the whole"
    )
    print(
        "structure   model      atoms charge fragments E-E(whole) meV/atom  F rmse meV/Å  seconds"
    )
    chignolin = read(protein)
    chignolin.pbc, chignolin.cell = False, None
    jobs = {"aimnet2": ("chignolin", chignolin), "so3lr": ("chignolin", chignolin),
            "ani-1ccx": ("Ala12", build_peptide("A" * 12, conformation="helix"))}  # fmt: skip
    for name, engine in engines.items():
        what, atoms = jobs[name][0], jobs[name][1].copy()
        atoms.calc = FragmentCalculator(atoms, engine, low="gfn2-xtb")
        start = time.perf_counter()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        seconds = time.perf_counter() - start
        n = atoms.calc.force_field.high.n_calculations
        whole = atoms.copy()
        whole.info["charge"] = atoms.calc.topology.charge
        whole.calc = named_calculator(engine)
        error = 1e3 * (energy - whole.get_potential_energy()) / len(atoms)
        rmse = 1e3 * np.sqrt(np.mean((forces - whole.get_forces()) ** 2))
        print(f"{what:11} {name:10} {len(atoms):5} {whole.info['charge']:6} {n:9} {error:20.2f} "
              f"{rmse:13.1f} {seconds:8.1f}")  # fmt: skip


def coupled_cluster(engines, folder, seeds, strategies):
    """Learns coupled cluster from few labels on top of the models, and of tlpot-tiny."""
    rows: dict[str, dict[str, list[float]]] = {}
    for seed in range(seeds):
        for name in (PARENT, *engines):
            for method in strategies:
                if name in engines and method == "full":
                    continue  # an engine has no weights to move
                outcome = finetune(settings(engines.get(name), name, method, folder, seed),
                                   overwrite=True, show=False)  # fmt: skip
                row = rows.setdefault(name, {})
                row.setdefault(method, []).append(outcome.end.overall["energy_mae"])
                if len(row.setdefault("shift", [])) == seed:
                    row["shift"].append(outcome.start.overall["energy_mae"])
    print(f"\n{LABELS} coupled-cluster labels, MAE on held-out molecules in meV, {seeds} draws")
    columns = ["shift", *strategies]
    print(f"{'parent':12}" + "".join(f"{column:>16}" for column in columns))
    for name, row in rows.items():
        cells = [
            f"{np.mean(row[c]):.1f} ± {np.std(row[c]):.1f}" if c in row else "" for c in columns
        ]
        print(f"{name:12}" + "".join(f"{cell:>16}" for cell in cells))


def settings(engine, name, method, folder, seed):
    """Returns the fine-tuning of tlpot-tiny, or on top of an engine."""
    frozen = method.startswith("frozen")
    strategy = {"name": method}
    parent = {"parent": PARENT, "source": "wb97x/6-31g*"}
    if engine is not None and frozen:
        parent = {"parent": engine, "features": str(folder / "features")}
    elif engine is not None:
        strategy |= {"low": engine, "low_labels": str(folder / "low.journal")}
    training = {} if frozen else {"epochs": 200, "batch_size": 8, "validate_every": 10}
    return finetune_config(
        {
            **parent, "data": {"files": [str(DATA)]}, "level": LEVEL, "strategy": strategy,
            "output": str(folder / f"{name}-{method}-{seed}.safetensors"),
            "split": to_mapping(division(seed)), "training": {"seed": seed, **training},
        }
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for option in ("aimnet2", "so3", "ani", "ani-models", "protein"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--parts", nargs="+", default=["label", "layers", "coupled-cluster"])
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, help="of coupled-cluster")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    warnings.filterwarnings("ignore", category=UserWarning)
    options.folder.mkdir(parents=True, exist_ok=True)
    engines = {
        "aimnet2": f"torch:{options.aimnet2}",
        "so3lr": f"env:{options.so3} ase:factories:so3lr(reads_info=[charge])",
        "ani-1ccx": f"env:{options.ani} ase:factories:ani(folder={options.ani_models})",
    }
    if "label" in options.parts:
        label(engines, options.folder)
    if "layers" in options.parts:
        layers(engines, options.protein)
    if "coupled-cluster" in options.parts:
        coupled_cluster(engines, options.folder, options.seeds, options.strategies)


if __name__ == "__main__":
    main()
