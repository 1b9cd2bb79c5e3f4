"""A ranking recommends no model that the data cannot tell from the composition alone."""

import h5py
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from toy_crystals import MODEL, SPLIT, write_toy

import tlpot
from tlpot.cli import main
from tlpot.data import open_dataset
from tlpot.models import LIBRARY, Potential, preset, save
from tlpot.ranking import rank

LEVEL = "gfn2-xtb"


@pytest.fixture
def some(tmp_path):
    """Writes so many molecules of the shipped data with so many frames of each."""

    def some(n_molecules, n_frames):
        path = tmp_path / "some.h5"
        with h5py.File(LIBRARY / "tlpot-qm.h5") as source, h5py.File(path, "w") as target:
            for key, value in source.attrs.items():
                target.attrs[key] = value
            full = open_dataset(LIBRARY / "tlpot-qm.h5")
            labelled = full.group_idx[full.labelled(LEVEL)]
            names = [full.group_names[k] for k in np.unique(labelled)]
            for name in names[:n_molecules]:
                group = source[name]
                total = len(group["coordinates"])
                made = target.create_group(name)
                for key, value in group.attrs.items():
                    made.attrs[key] = value
                for key, values in group.items():
                    whole = key == "atomic_numbers" or len(values) != total
                    made[key] = values[()] if whole else values[:n_frames]
                    for word, value in values.attrs.items():
                        made[key].attrs[word] = value
        return str(path)

    return some


def ranked(path, capsys, *options):
    assert main(["models", "rank", path, "tlpot-tiny", "--level", LEVEL, *options]) == 0
    return capsys.readouterr().out


@pytest.fixture
def errors(monkeypatch):
    """Gives the composition an error of 1 eV, and every model those of each fold."""

    def errors(by_fold):
        def left_out(target, left, rows, folds):
            if rows is None and np.array_equal(left, rank._composition_only(target)):
                return np.ones(len(left))
            return np.array(by_fold)[folds]

        monkeypatch.setattr(rank, "_left_out", left_out)

    return errors


@pytest.mark.fault
def test_with_few_molecules_the_data_cannot_decide(some, errors, capsys):
    errors([0.2, 0.21, 0.19])
    text = ranked(some(3, 2), capsys, "--folds", "3")
    assert "cannot decide" in text
    assert "3 molecules, fewer than 10" in text
    assert "tlpot finetune" not in text


@pytest.mark.fault
def test_folds_that_disagree_cannot_decide(some, errors, capsys):
    """The mean is below that of the composition; one fold in five is far above."""
    errors([3.0, 0.3, 0.3, 0.3, 0.3])
    text = ranked(some(12, 1), capsys)
    assert "cannot decide" in text
    assert "interval" in text
    assert "tlpot finetune" not in text


def test_folds_that_agree_recommend_the_model(some, errors, capsys):
    errors([0.3, 0.28, 0.31, 0.25, 0.3])
    text = ranked(some(12, 1), capsys)
    assert "cannot decide" not in text
    assert "tlpot finetune tlpot-tiny" in text


def test_what_is_worse_is_not_recommended(some, errors, capsys):
    errors([1.3, 1.28, 1.31, 1.25, 1.3])
    text = ranked(some(12, 1), capsys)
    assert "tlpot finetune" not in text
    assert "train from scratch" in text


def xyz(path, names):
    """Rattled molecules with energies that are a number for each atom."""
    frames = []
    for name in names:
        for k in range(6):
            atoms = molecule(name)
            atoms.rattle(0.04, seed=k)
            energy = -10.0 * atoms.numbers.sum() + 0.01 * k
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            frames.append(atoms)
    write(path, frames)
    return str(path)


@pytest.mark.fault
def test_folds_by_molecule_are_not_looked_at_where_the_energies_left_out_are_open(tmp_path, capsys):
    path = xyz(tmp_path / "a.xyz", ("CH4", "NH3", "H2O"))
    text = ranked(path, capsys)
    assert "sorted by random" in text
    assert "no folds by molecule" in text
    words = ["models", "rank", path, "tlpot-tiny", "--level", LEVEL, "--by", "molecule"]
    assert main(words) == 2
    assert "free atoms" in capsys.readouterr().err


@pytest.mark.fault
def test_a_level_that_lacks_an_element_does_not_hide_the_others_of_its_model(tmp_path, capsys):
    path = xyz(tmp_path / "a.xyz", ("CH4", "CH3SH", "SH2", "C2H6", "H2"))
    assert main(["models", "rank", path, "tlpot-peptides-tiny", "--level", LEVEL]) == 0
    text = capsys.readouterr().out
    assert "tlpot-peptides-tiny  aimnet2 " in text
    assert "not applicable: tlpot-peptides-tiny at ani-1ccx" in text


@pytest.mark.fault
def test_models_of_properties_alone_do_not_take_part_in_a_ranking_for_energies(
    some, tmp_path, capsys
):
    network = {key: value for key, value in MODEL.items() if key != "n_species"}
    network |= {"species": "elemental", "elements": "all"}
    tlpot.train(
        config={"data": write_toy(tmp_path), "model": network, "split": SPLIT},
        level="gap@cheap", epochs=1, output=tmp_path / "gap.safetensors", progress=False,
    )  # fmt: skip
    command = ["models", "rank", some(6, 3), str(tmp_path / "gap.safetensors"), "--level", LEVEL]
    assert main(command) == 0
    assert "knows properties only" in capsys.readouterr().out


def test_names_of_labels_are_given_to_a_ranking_and_to_what_it_advises(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frames = []
    for name in ("H2O", "CH4", "CH3OH", "CO2", "H2O2", "C2H4"):
        for _ in range(4):
            atoms = molecule(name)
            atoms.positions += rng.normal(0, 0.03, atoms.positions.shape)
            atoms.calc = tlpot.TLPotCalculator("tlpot-tiny")
            energy = atoms.get_potential_energy() + 0.1 * rng.normal()
            atoms.calc = None
            atoms.info["mine"] = energy
            frames.append(atoms)
    path = str(tmp_path / "mine.xyz")
    write(path, frames)
    command = ["models", "rank", path, "tlpot-tiny", "--level", "mine", "--by", "random"]
    assert main(command) == 2
    assert "--keys" in capsys.readouterr().err
    assert main([*command, "--keys", "energy=mine"]) == 0
    assert "24 energies at mine" in capsys.readouterr().out
    found = tlpot.rank(path, "tlpot-tiny", level="mine", keys={"energy": "mine"}, by="random")
    assert all("--keys energy=mine" in line for line in found.commands())


@pytest.mark.fault
def test_a_difference_is_no_candidate(some, tmp_path):
    """Models of differences were ranked among parents, from which nothing can be fine-tuned."""
    zeros = dict.fromkeys((1, 6, 7, 8), 0.0)
    model = tmp_path / "difference.safetensors"
    save(Potential.create(preset("tiny", (1, 6, 7, 8)), {f"a - {LEVEL}": zeros}), model)
    found = tlpot.rank(some(6, 3), [str(model)], level=LEVEL, by="random", progress=False)
    assert "difference" in found.refused[str(model)]
    assert not any(score.model == str(model) for score in found.scores)
