"""Which kernels are used, how they are built, and what happens where they cannot be."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

from tlpot.errors import ConfigError, KernelError
from tlpot.kernels import ConvolutionPlan, Kernels, build, choice, kernels_by_name
from tlpot.models import Potential, preset


def network(kernels="auto"):
    return Potential.create(preset("tiny", (1,)), {"toy": {1: 0.0}}, kernels=kernels)


CPU = torch.device("cpu")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has not built anything yet, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.library.cache_clear()
    choice._failure.cache_clear()
    yield tmp_path / "tlpot"
    build.library.cache_clear()
    choice._failure.cache_clear()


def test_unknown_kernels_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'compiled'"):
        kernels_by_name("compild")


def test_a_build_leaves_one_library_and_is_used_again(fresh):
    assert Kernels().compiled(CPU, torch.float32, 3)
    (made,) = fresh.iterdir()
    before = made.stat().st_mtime_ns
    build.library.cache_clear()
    choice._failure.cache_clear()
    assert Kernels().compiled(CPU, torch.float32, 3)
    assert [p.stat().st_mtime_ns for p in fresh.iterdir()] == [before]


def test_without_a_compiler_torch_does_it_and_says_so_once(fresh, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.warns(UserWarning, match=r"slower than it could.*no C\+\+ compiler"):
        assert not Kernels().compiled(CPU, torch.float32, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not Kernels().compiled(CPU, torch.float32, 2)
        assert network().layout == "auto"
    with pytest.raises(KernelError, match="install a C"):
        Kernels(name="compiled").compiled(CPU, torch.float32, 2)


def test_a_failing_compiler_shows_its_message(fresh, monkeypatch, tmp_path):
    script = tmp_path / "bad"
    script.write_text("#!/bin/sh\necho out of cheese >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    with pytest.raises(KernelError, match="out of cheese"):
        build.library(torch.float64)
    assert not [p for p in fresh.iterdir() if p.suffix == ".so"]


def test_a_damaged_library_is_named(fresh, monkeypatch):
    def truncated(sources, scalar, compiler, path):
        path.parent.mkdir()
        path.write_bytes(b"not a library")

    monkeypatch.setattr(build, "_compile", truncated)
    with pytest.raises(KernelError, match="delete it"):
        build.library(torch.float32)


def test_wrong_results_are_not_trusted(fresh, monkeypatch):
    monkeypatch.setattr("tlpot.kernels.check._product", lambda dtype: 0.1)
    with pytest.warns(UserWarning, match=r"differ from torch by 1\.0e-01"):
        assert not Kernels().compiled(CPU, torch.float64, 2)


@pytest.mark.parametrize(
    ("device", "dtype", "degree", "reason"),
    [
        (torch.device("cuda"), torch.float32, 2, "not on cuda"),
        (CPU, torch.bfloat16, 2, "not torch.bfloat16"),
        (CPU, torch.float32, 4, "the model to 4"),
    ],
)
def test_what_the_kernels_do_not_know(device, dtype, degree, reason):
    assert not Kernels().compiled(device, dtype, degree)
    with pytest.raises(KernelError, match=reason):
        Kernels(name="compiled").compiled(device, dtype, degree)


def test_torch_is_torch():
    assert not kernels_by_name("torch").compiled(CPU, torch.float32, 1)
    assert network("torch").layout == "auto"
    assert network("compiled").layout == "sorted"


def test_plans_survive_copies():
    plan = ConvolutionPlan([(0, 0, 0)], np.ones((1, 1)), 4)
    assert copy.deepcopy(plan) is plan
    assert pickle.loads(pickle.dumps(plan)).fan_in == plan.fan_in
