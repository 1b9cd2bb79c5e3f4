"""A build of seconds: glycine between caps, GFN1-xTB to GFN2-xTB, and counters of its work."""

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import torch

from tlpot.building import build_config, make_build_plan, run_stages, up_to

EPOCHS = {"pretrain": 3, "finetune": 2}
SETTINGS = {
    "sequence": "G",
    "scheme": "mfcc",
    "low": {"engine": "gfn1-xtb", "budget": 22},
    "high": {"engine": "gfn2-xtb", "budget": 20},
    "sample": {"methods": ["scan"], "pool": 1.5},
    "pretrain": {
        "model": {"preset": "tiny", "n_layers": 1, "hidden_irreps": "8x0e", "l_max": 1},
        "training": {"epochs": EPOCHS["pretrain"], "batch_size": 8},
    },
    "finetune": {
        "strategy": "multihead",
        "split": {"validation": 10, "test": 3},
        "training": {"epochs": EPOCHS["finetune"], "batch_size": 8},
    },
    "uncertainty": {"method": "last-layer"},
    "active": {"rounds": 1, "steps": 4, "interval": 1, "trigger": 0.0, "budget": 2},
    "assemble": {"steps": 2, "interval": 1, "reference": "high", "frames": 1},
}


def settings(folder, **changes):
    return {**SETTINGS, "output": str(folder), **changes}


def watch(log, kill=None):
    """Notes labels, epochs and MD steps in a file; kills the process at the n-th of a kind."""
    from tlpot.building.dynamics import Moment
    from tlpot.labelling.journal import Journal
    from tlpot.training.loop import _Run

    def noting(kind, function):
        def wrapped(*args, **kwargs):
            found = function(*args, **kwargs)
            with Path(log).open("a") as handle:
                handle.write(f"{kind}\n")
            if kill is not None and kind == kill[0] and counts(log)[kind] == kill[1]:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return wrapped

    originals = Journal.append, _Run.checkpoint, Moment.write
    Journal.append = noting("label", Journal.append)
    _Run.checkpoint = noting("epoch", _Run.checkpoint)
    Moment.write = noting("moment", Moment.write)

    def undo():
        Journal.append, _Run.checkpoint, Moment.write = originals

    return undo


def counts(log):
    path = Path(log)
    return Counter(path.read_text().split()) if path.exists() else Counter()


def build(given, until=None, **options):
    """Builds, and returns which stages were worked on, and the records."""
    build_plan = make_build_plan(build_config(given))
    worked = []
    torch.set_num_threads(1)
    records = run_stages(
        up_to(build_plan.stages, until),
        build_plan.config.output,
        device="cpu",
        on_start=lambda now: worked.append(now.stage.name),
        **options,
    )
    return worked, records


if __name__ == "__main__":
    folder, log, kind, number = sys.argv[1:5]
    watch(log, (kind, int(number)))
    build(settings(folder, **json.loads(sys.argv[5])))
