"""What holds harmonic frequencies back: row A3 continued with other losses (row P8).

    python benchmarks/accuracy/spectroscopy.py A3-tiny.safetensors --data DIR --out OUT

The model and the split are those of ``rows.py A3``, whose run folder lies beside the model; DIR
holds vpt2-tl/ (Käser et al., doi:10.1021/acs.jctc.1c00249). Prints errors on the test frames and of
the frequencies against the level itself (h2co_mp2_frequencies.json).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase import Atoms

import tlpot

MP2 = "mp2/aug-cc-pvtz"
SMALL = {"force_delta": 3e-4, "energy_delta": 1e-5, "energy": 1.0, "energy_end": 1.0}
"""Huber's deltas, eV/Å and eV an atom, below the errors of the model."""
CASES: Mapping[str, Mapping[str, Any]] = {
    "as before": {"epochs": 25, "learning_rate": 1e-3},
    "constant energy weight": {"epochs": 25, "learning_rate": 1e-3, "loss": {"energy_end": 1.0}},
    "small deltas": {"epochs": 25, "learning_rate": 1e-3, "loss": SMALL},
    "small deltas, longer": {"epochs": 60, "learning_rate": 2e-3, "loss": SMALL},
}


def main() -> None:
    """Parses the command line and runs the cases that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    labels = Path(given.data) / "vpt2-tl" / "ch2o_mp2_avtz_3601.npz"
    print("as it is")
    frequencies(given.model)
    for name in given.cases:
        output = given.out / f"{name}.safetensors"
        if not output.exists():
            tlpot.finetune(
                given.model, labels, spec="physnet", level=MP2, strategy="full", output=output,
                split=given.model.with_suffix(".run") / "split.json",
                training={"batch_size": 16, "ema": 0.999, **CASES[name]},
                report={"enabled": False},
            )  # fmt: skip
        report = json.loads((output.with_suffix(".run") / "report.json").read_text())
        print(name, dict(CASES[name]), f"F MAE {report['overall']['forces_mae']:.3f} meV/Å")
        frequencies(output)


def frequencies(model: Path) -> None:
    """Prints the differences from the level itself."""
    level = json.loads(Path(__file__).with_name("h2co_mp2_frequencies.json").read_text())
    atoms = Atoms(level["symbols"], level["positions_angstrom"])
    found = tlpot.frequencies(atoms, model, relax=True, fmax=1e-6, progress=False).wavenumbers
    wrong = found - np.array(level["frequencies_per_cm"])
    words = " ".join(f"{value:+.2f}" for value in wrong)
    print(f"  frequencies {words}; mean {np.abs(wrong).mean():.2f}, largest "
          f"{np.abs(wrong).max():.2f} 1/cm", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
