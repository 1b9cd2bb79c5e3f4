"""A job leaves nothing of the process changed, whether it ends well or not."""

import gc
import logging
import os
import random
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from few_labels import CC, DFT, SPLIT

import tlpot
from tlpot.errors import TLPotError, TLPotWarning
from tlpot.torch_mode import torch_threads

pytestmark = pytest.mark.train

QUIET = {"progress": False, "device": "cpu"}


def state():
    """All that other code of the process could notice."""
    log = logging.getLogger("tlpot")
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "torch's random numbers": torch.get_rng_state().tolist(),
        "numpy's": [str(part) for part in np.random.get_state()],  # noqa: NPY002
        "python's": random.getstate(),
        "numpy's errors": np.geterr(),
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "folder": Path.cwd(),
        "garbage": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "warnings": list(warnings.filters),
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
        "log": (log.level, log.handlers[:]),
    }


@pytest.fixture
def unchanged():
    """Fails where a test leaves something changed that it did not find so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    before = state()
    yield
    after = state()
    torch.set_num_threads(threads)
    assert {key for key in before if before[key] != after[key]} == set()


def jobs(data, tuned, folder):
    """One call of each job."""
    split = f"{tuned[0].removesuffix('.safetensors')}.run/split.json"
    training = {"level": CC, "split": SPLIT, "epochs": 1, **QUIET}
    sizes = {"hidden_irreps": "4x0e+4x1o", "radial_hidden": [], "readout_hidden": 4}
    curve = {"strategies": ["shift"], "sizes": [6, 12, 24], "seeds": 1, "level": CC, **QUIET}
    report = {"md_steps": 20}
    held = {"by": "random", "test": 8, "validation": 4}
    return {
        "train": lambda: tlpot.train(
            data, output=folder / "t.safetensors", model=sizes, **training
        ),
        "finetune": lambda: tlpot.finetune(
            "tlpot-tiny",
            data,
            strategy="lora",
            output=folder / "f.safetensors",
            report=report,
            **training,
        ),
        "evaluate": lambda: tlpot.evaluate("tlpot-tiny", data, model_level=DFT, **QUIET),
        "predict": lambda: tlpot.predict("tlpot-tiny", data, **QUIET),
        "learning_curve": lambda: tlpot.learning_curve(
            "tlpot-tiny", data, split=held, output=folder / "c", **curve
        ),
        "plan": lambda: tlpot.plan(folder / "c", budget=1e5, cost_ratio=100),
        "rank": lambda: tlpot.rank(data, ["tlpot-tiny"], folds=3, by="random", **QUIET),
        "ensemble": lambda: tlpot.ensemble(tuned, level=CC, **QUIET),
        "calibrate": lambda: tlpot.calibrate(tuned[0], data, level=CC, split=split, **QUIET),
        "report": lambda: tlpot.report(
            tuned[0], data, parent="tlpot-tiny", level=CC, report=report, split=split, **QUIET
        ),
        "validate_dataset": lambda: tlpot.validate_dataset(data, progress=False),
        "convert_dataset": lambda: tlpot.convert_dataset(data, folder / "d.h5", progress=False),
        "split_dataset": lambda: tlpot.split_dataset(data, progress=False),
    }


def test_no_job_leaves_anything_changed(data, tuned, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    changed = {}
    for name, job in jobs(data, tuned, tmp_path).items():
        before = state()
        job()
        after = state()
        changed[name] = {key for key in before if before[key] != after[key]}
    torch.set_num_threads(threads)
    assert {name: keys for name, keys in changed.items() if keys} == {}


def test_a_job_that_fails_leaves_nothing_changed(data, tmp_path, unchanged):
    def stop(done, total, text):
        raise RuntimeError("enough")

    training = {"level": CC, "split": SPLIT, "epochs": 1, "device": "cpu"}
    with pytest.raises(RuntimeError, match="enough"):
        tlpot.finetune(
            "tlpot-tiny", data, output=tmp_path / "f.safetensors", progress=stop, **training
        )
    with pytest.raises(RuntimeError, match="enough"):
        tlpot.evaluate("tlpot-tiny", data, model_level=DFT, progress=stop)
    with pytest.raises(TLPotError):
        tlpot.evaluate("tlpot-tiny", data, level="pbe", progress=False)


def test_several_spinning_threads_are_warned_of(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with pytest.warns(TLPotWarning, match="OMP_WAIT_POLICY"), torch_threads(2):
        assert torch.get_num_threads() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch_threads(1):
            pass
        monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
        with torch_threads(2):
            pass


LIGHT = """
import sys, tlpot
assert "train" in dir(tlpot)
tlpot.validate_dataset, tlpot.train
assert not {"torch", "e3nn", "matplotlib"} & set(sys.modules)
print(tlpot.split_dataset(sys.argv[1], progress=False))
assert "torch" not in sys.modules
"""


def test_the_jobs_are_light_until_they_are_called(data):
    done = subprocess.run([sys.executable, "-c", LIGHT, data], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "validation" in done.stdout


def test_progress_is_told_and_not_shown(data, capsys):
    told = []
    tlpot.evaluate("tlpot-tiny", data, model_level=DFT, progress=lambda *what: told.append(what))
    assert told[-1] == (2, 2, "evaluate")
    assert capsys.readouterr().err == ""
    tlpot.evaluate("tlpot-tiny", data, model_level=DFT, progress=False)
    assert capsys.readouterr().err == ""
