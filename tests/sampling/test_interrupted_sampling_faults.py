"""What ends a sampling, and what does not."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from ase.build import molecule as g2
from needs import needs
from spring_molecule import Unlucky, slow_or_deadly
from toys import E0

import tlpot
from tlpot.calculators import CalculatorFactory
from tlpot.data import open_dataset
from tlpot.errors import DataError, OutputError, SimulationError
from tlpot.execution import workers
from tlpot.models import LIBRARY, Potential, preset, save
from tlpot.sampling import SamplingSettings, SamplingTarget, sample

SETTINGS = SamplingSettings(budget=6, methods=("noise",), window=5.0)


def molecules(*names):
    return [SamplingTarget(name=name, atoms=g2(name)) for name in names]


@pytest.mark.fault
def test_a_geometry_that_an_engine_fails_on_is_left_out(tmp_path):
    """An SCF without convergence at one of hundreds of geometries ended the sampling."""
    engine = CalculatorFactory(factory=Unlucky, level="toy")
    (found,) = sample(molecules("H2O"), tmp_path / "a.h5", SETTINGS, engine, progress=False)
    assert found.counts["lost: calculator failed"] > 1
    assert len(found.chosen) == 6


@pytest.mark.fault
def test_a_worker_that_dies_takes_its_own_fragment_along_and_no_other(tmp_path):
    """All fragments in work were lost with it, and the end was a traceback."""
    engine = CalculatorFactory(factory=slow_or_deadly, level="toy")
    with pytest.raises(SimulationError, match="NH3: the worker died"), workers(2) as (pool, _):
        sample(molecules("NH3", "H2O"), tmp_path / "a.h5", SETTINGS, engine, executor=pool,
               progress=False)  # fmt: skip
    assert [p.name.split(".")[0] for p in (tmp_path / "a.h5.parts").iterdir()] == ["H2O"]


SAMPLE = """
    import os, signal, sys
    from ase.build import molecule
    from spring_molecule import slow_or_deadly
    from tlpot.calculators import CalculatorFactory
    from tlpot import api

    def tell(*_):
        print("told", flush=True)

    if __name__ == "__main__":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
        engine = CalculatorFactory(factory=slow_or_deadly, level="toy")
        CalculatorFactory.of = classmethod(lambda *_: engine)
        api.sample({n: molecule(n) for n in ("H2O", "CH4")}, sys.argv[1],
                   methods="noise", budget=6, workers=2, progress=tell)
"""


@pytest.fixture
def started(tmp_path):
    """A sampling on two workers, of which one is at something slow."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SAMPLE))
    folder = str(Path(__file__).parent)
    path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "a.h5")],
        env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "told\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def children(pid):
    """Processes of a parent, by /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(entry)
        except OSError:
            continue
    return found


def wait_for(what, seconds=60.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.fault
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_end_with_a_sampling_that_is_killed(started):
    """They stayed for ever, each with its memory."""
    theirs = children(started.pid)
    assert theirs
    started.kill()
    started.wait()
    wait_for(lambda: not any(entry.exists() for entry in theirs))


@pytest.mark.fault
def test_ctrl_c_ends_a_sampling_on_workers_at_once_and_keeps_what_is_done(started, tmp_path):
    """It waited for what was at work, for hours maybe, and then threw that away."""
    started.send_signal(signal.SIGINT)
    assert started.wait(timeout=60.0) != 0
    assert [p.name.split(".")[0] for p in (tmp_path / "a.h5.parts").iterdir()] == ["H2O"]


def stopped(model, out):
    """A sampling by a model that ends after its first fragment."""

    def tell(*_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        tlpot.sample(
            ["H2O", "NH3"], out, engine=str(model), methods="noise", budget=3, progress=tell
        )


@pytest.mark.fault
def test_a_model_that_was_replaced_does_not_go_on_with_the_fragments_of_another(tmp_path):
    """One file had labels of both models, at one level, and nothing said so."""
    model, out = tmp_path / "m.safetensors", tmp_path / "a.h5"
    shutil.copy(LIBRARY / "tlpot-tiny.safetensors", model)
    stopped(model, out)
    save(Potential.create(preset("tiny", sorted(E0)), {"low": E0}, scale=0.01), model)
    with pytest.raises(OutputError, match="another sampling"):
        tlpot.sample(["H2O", "NH3"], out, engine=str(model), methods="noise", budget=3)


@pytest.mark.fault
def test_samples_of_a_model_have_its_name_for_a_level_as_labels_of_it_do(tmp_path):
    """They said that they were of the level of theory that the model had learned."""
    out = tmp_path / "a.h5"
    tlpot.sample(["H2O"], out, engine="tlpot-tiny", methods="noise", budget=3)
    assert tuple(open_dataset(out).levels) == ("tlpot-tiny",)
    report = tlpot.label(out, "model:tlpot-tiny", out)
    assert (report.n_known, report.n_labelled) == (3, 0)


@pytest.mark.fault
def test_samples_of_an_engine_are_labels_of_it(tmp_path):
    """Others could not be added: they were said to be computed in another way."""
    needs("tblite")
    out = tmp_path / "a.h5"
    tlpot.sample(["H2O"], out, engine="gfn2-xtb", methods="noise", budget=3)
    assert tlpot.label(out, "gfn2-xtb", out).n_known == 3
    with pytest.raises(DataError, match="electronic_temperature"):
        tlpot.label(out, "gfn2-xtb", out, settings={"electronic_temperature": 1000})
