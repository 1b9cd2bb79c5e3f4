"""What the pre-flight report warns of reaches those who call a job from Python."""

import logging
import warnings

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from toy_crystals import crystals

import tlpot
from tlpot.errors import PreflightWarning


def frames(names):
    found = []
    for k, name in enumerate(names):
        atoms = molecule(name)
        atoms.rattle(0.02, seed=k)
        atoms.calc = SinglePointCalculator(atoms, energy=-50.0 * len(atoms) + 0.01 * k)
        found.append(atoms)
    return found


def finetune(tmp_path):
    return tlpot.finetune(
        "tlpot-tiny", frames(["H2O"] * 6 + ["CH4"] * 6 + ["NH3"] * 2), level="cc/dz",
        strategy="shift", split={"by": "random", "validation": 2, "test": ["H3N"]},
        output=tmp_path / "m.safetensors", report={"enabled": False}, progress=False,
    )  # fmt: skip


@pytest.mark.fault
def test_an_element_of_no_training_frame_is_told_in_python_too(tmp_path):
    """Only the log had it, at a level that nobody sees unless told: 10,000 eV off in silence."""
    with pytest.warns(PreflightWarning, match="N is in the data and in no training frame"):
        finetune(tmp_path)


def test_who_reads_the_log_is_not_told_twice(tmp_path, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.INFO, logger="tlpot"):
        warnings.simplefilter("error", PreflightWarning)
        finetune(tmp_path)
    assert "N is in the data and in no training frame" in caplog.text


TOTAL = {"H2O": -2077.0, "CH4": -1101.0, "NH3": -1537.0, "CH3OH": -3146.0, "H2": -32.0}
"""eV, of all electrons."""


def preflight(tmp_path, energies, **options):
    given = []
    for name, energy in energies.items():
        for k in range(4):
            atoms = molecule(name)
            atoms.rattle(0.02, seed=k)
            atoms.calc = SinglePointCalculator(atoms, energy=energy + 0.01 * k)
            given.append(atoms)
    return tlpot.train(
        given, level="cc/dz", preset="tiny", output=tmp_path / "m.safetensors", dry_run=True,
        split={"by": "random", "validation": 2, "test": 2}, progress=False, **options,
    ).preflight  # fmt: skip


@pytest.mark.fault
def test_what_no_reference_energies_explain_is_warned_of(tmp_path):
    """Reference energies were fitted to energies per atom without a word."""
    per_atom = {name: energy / len(molecule(name)) for name, energy in TOTAL.items()}
    assert "eV per atom of the energies unexplained" in preflight(tmp_path, per_atom)
    assert "unexplained" not in preflight(tmp_path, TOTAL)


@pytest.mark.fault
def test_positive_reference_energies_are_warned_of(tmp_path):
    """Energies of the other sign were fitted without a word."""
    reversed_ones = {name: -energy for name, energy in TOTAL.items()}
    said = preflight(tmp_path, reversed_ones)
    assert "E0 of all elements but hydrogen are positive (C +" in said
    assert "are positive" not in preflight(tmp_path, TOTAL)


@pytest.mark.fault
def test_elements_that_only_unlabelled_structures_have_are_a_note(tmp_path, caplog):
    """A fine-tuning of gaps warned that energies of molecules with 21 elements will be far off."""
    structures = crystals(40)
    for atoms in structures:
        if set(atoms.symbols) & {"Br", "Mg"}:
            del atoms.info["cheap"]
    with caplog.at_level(logging.INFO, logger="tlpot"):
        tlpot.train(
            structures, keys={"gap@cheap": "cheap, eV, intensive"}, level="gap@cheap",
            preset="crystal", output=tmp_path / "m.safetensors", dry_run=True, progress=False,
        )  # fmt: skip
    (line,) = [text for text in caplog.text.splitlines() if "Mg, Br" in text]
    assert line.startswith("note")
    assert "gap@cheap" in line
    assert "in no training frame" not in caplog.text


@pytest.mark.fault
def test_energies_far_from_the_parents_are_named_with_their_level(tmp_path):
    """The warning was "that is more than 0.5 eV per atom", without what."""
    given = frames(["H2O", "CH4"] * 10)
    for atoms, noise in zip(given, np.random.default_rng(0).normal(0, 50.0, 20), strict=True):
        atoms.calc.results["energy"] += noise
    said = tlpot.finetune(
        "tlpot-tiny", given, level="cc/dz", strategy="full", dry_run=True,
        output=tmp_path / "m.safetensors", progress=False,
        split={"by": "random", "validation": 4, "test": 4},
    ).preflight  # fmt: skip
    assert "energies at cc/dz are off by" in said
