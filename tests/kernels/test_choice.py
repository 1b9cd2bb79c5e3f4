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


@pytest.mark.external
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
    with pytest.raises(KernelError, match="mend that"):
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
        path.write_bytes(b"not a library")

    monkeypatch.setattr(build, "_compile", truncated)
    with pytest.raises(KernelError, match="delete it"):
        build.library(torch.float32)


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("g++ '", "No closing quotation"),
        ("{folder}/noexec", "Exec format error|not compile"),
        ("{folder}/latin", "cannot compile"),
    ],
)
def test_strange_compilers_fall_back(fresh, monkeypatch, tmp_path, compiler, message):
    for name, content in {
        "noexec": b"\x7fnothing",
        "latin": b"#!/bin/sh\nprintf '\\351'\nexit 1\n",
    }.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("CXX", compiler.format(folder=tmp_path))
    with pytest.warns(UserWarning, match=message):
        assert not Kernels().compiled(CPU, torch.float32, 2)


@pytest.mark.external
def test_flags_that_a_compiler_refuses_are_left_out(fresh, monkeypatch, tmp_path):
    """A compiler that knows neither native processors nor OpenMP, as some do."""
    script = tmp_path / "plain"
    refuse = "case $a in -fopenmp|-m*=native) exit 1;; esac"
    script.write_text(f'#!/bin/sh\nfor a in "$@"; do {refuse}; done\nexec c++ "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.warns(UserWarning, match="no OpenMP"):
        assert Kernels().compiled(CPU, torch.float32, 2)


@pytest.mark.external
def test_a_ready_library_needs_no_compiler(fresh, monkeypatch):
    build.library(torch.float32)
    build.library.cache_clear()
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert Kernels().compiled(CPU, torch.float32, 2)


@pytest.mark.external
def test_a_cache_that_cannot_be_written_is_done_without(fresh, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.warns(UserWarning, match="cannot be written"):
        assert Kernels().compiled(CPU, torch.float32, 2)


@pytest.mark.external
def test_autocast_is_left_to_torch(fresh):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not Kernels().compiled(CPU, torch.float32, 2)
        with pytest.raises(KernelError, match="autocast"):
            Kernels(name="compiled").compiled(CPU, torch.float32, 2)
    assert Kernels().compiled(CPU, torch.float32, 2)


@pytest.mark.external
def test_wrong_results_are_not_trusted(fresh, monkeypatch):
    monkeypatch.setattr("tlpot.kernels.choice._product", lambda dtype, c: 0.1)
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
