"""Periodic structures: strained cells, noise and dynamics, with stresses."""

import numpy as np
import pytest
from ase.build import bulk, fcc111, make_supercell, molecule
from ase.calculators.emt import EMT

import tlpot
from tlpot.errors import ConfigError
from tlpot.sampling.candidate import geometry_features
from tlpot.sampling.crystal import AtomsApart, strained

ENGINE = "ase:ase.calculators.emt:EMT"


@pytest.fixture
def copper():
    return bulk("Cu", cubic=True)


def sampled(atoms, path, **options):
    return tlpot.sample({"copper": atoms}, path, engine=ENGINE, level="emt", **options)


def test_cells_labels_and_methods_of_a_crystal(copper, tmp_path):
    found = sampled(copper, tmp_path / "x.h5", budget=12, interval=10)
    assert set(found.rows[0].methods) == {"relaxed", "strain", "noise", "md"}
    dataset = tlpot.open_dataset(tmp_path / "x.h5")
    assert dataset.levels["emt"].kinds == {"energy", "forces", "stress"}
    volumes = []
    for frame in dataset:
        atoms = frame.system.to_atoms()
        assert atoms.pbc.all()
        atoms.calc = EMT()
        labels = frame.labels["emt"]
        np.testing.assert_allclose(labels.energy, atoms.get_potential_energy(), atol=1e-9)
        np.testing.assert_allclose(labels.forces, atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(labels.stress, atoms.get_stress(voigt=False), atol=1e-9)
        volumes.append(atoms.get_volume() / copper.get_volume())
    assert min(volumes) < 0.98
    assert max(volumes) > 1.02
    assert max(np.abs(np.array(volumes) - 1)) < 1.15**3 - 1


def test_an_interrupted_sampling_goes_on_to_the_same_file(copper, tmp_path):
    structures = {"copper": copper, "silver": bulk("Ag", cubic=True), "water": molecule("H2O")}

    def both(path, **options):
        return tlpot.sample(
            structures, path, engine=ENGINE, level="emt", budget=6, methods="md,noise",
            interval=5, **options,
        )  # fmt: skip

    whole = both(tmp_path / "whole.h5")

    class StoppedError(Exception):
        pass

    def stop(done, total, what):
        if done > 0:
            raise StoppedError

    with pytest.raises(StoppedError):
        both(tmp_path / "again.h5", progress=stop)
    assert list((tmp_path / "again.h5.parts").iterdir())
    again = both(tmp_path / "again.h5")
    for one, other in zip(whole.samples, again.samples, strict=True):
        for a, b in zip(one.chosen, other.chosen, strict=True):
            np.testing.assert_array_equal(a.positions, b.positions)
            np.testing.assert_array_equal(a.forces, b.forces)
            if one.name != "water":
                np.testing.assert_array_equal(a.cell, b.cell)
                np.testing.assert_array_equal(a.stress, b.stress)
    water = tlpot.open_dataset(tmp_path / "again.h5")["water"][0]
    assert not water.system.pbc.any()
    assert water.labels["emt"].stress is None


def test_a_slab_is_strained_in_its_plane_only():
    slab = fcc111("Cu", (2, 1, 2), vacuum=6.0)
    slab.pbc = [True, True, False]
    height = np.linalg.norm(slab.cell[2])
    for each in strained([slab], 20, 0.05, 0.02, 0):
        moved = each.placed(slab)
        np.testing.assert_allclose(moved.cell[2], slab.cell[2], atol=1e-9)
        assert np.linalg.norm(moved.cell[2]) == pytest.approx(height)
        lengths = moved.cell.lengths()[:2] / slab.cell.lengths()[:2]
        assert np.abs(lengths - 1).max() < 0.06
        assert np.ptp(moved.positions[:, 2]) == pytest.approx(np.ptp(slab.positions[:, 2]), abs=0.2)


@pytest.mark.parametrize("largest", [0.02, 0.1])
def test_strains_stay_within_what_was_asked_for(copper, largest):
    inverse = np.linalg.inv(copper.cell.array)
    size = []
    for each in strained([copper], 200, largest, 0.01, 0):
        strain = inverse @ each.cell - np.eye(3)
        np.testing.assert_allclose(strain, strain.T, atol=1e-12)
        size.append(np.abs(strain).max())
    assert max(size) <= largest
    assert max(size) > 0.6 * largest


def test_features_do_not_depend_on_the_cell_that_describes_a_crystal(copper):
    copper.rattle(0.1, seed=0)
    large = make_supercell(copper, [[2, 0, 0], [1, 1, 0], [0, 0, 1]])
    turned = copper.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    turned.translate([0.3, 0.1, 2.0])
    turned.wrap()
    rows = geometry_features([copper, large, turned, bulk("Cu", cubic=True)])
    np.testing.assert_allclose(rows[1:3], np.broadcast_to(rows[0], (2, rows.shape[1])), atol=1e-9)
    assert np.abs(rows[3] - rows[0]).max() > 1e-2


def test_images_in_one_place_are_seen(copper):
    assert AtomsApart().intact(copper)
    copper.positions[1] = copper.positions[0] + copper.cell[0] + 0.1
    assert AtomsApart().overlaps(copper)


def test_methods_for_the_other_kind_are_refused(copper, tmp_path):
    with pytest.raises(ConfigError, match=r"method scan is for molecules; .*strain, noise, md"):
        sampled(copper, tmp_path / "x.h5", methods="scan,md")
    with pytest.raises(ConfigError, match="is not periodic, and method strain"):
        tlpot.sample("H2O", tmp_path / "x.h5", engine=ENGINE, level="emt", methods="strain")
    with pytest.raises(ConfigError, match="strain is 2"):
        sampled(copper, tmp_path / "x.h5", strain=2)
    assert not (tmp_path / "x.h5").exists()


def test_frames_of_crystals_are_chosen_by_their_images(copper, tmp_path):
    sampled(copper, tmp_path / "pool.h5", budget=20, methods="strain,noise")
    chosen = tlpot.select_dataset(tmp_path / "pool.h5", tmp_path / "few.h5", count=5)
    assert chosen is not None
    few = tlpot.open_dataset(tmp_path / "few.h5")
    assert len(few) == 5
    assert few.labelled("emt", "stress").all()


class Bare(EMT):
    """A calculator of crystals without stress."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012


def test_a_calculator_without_stress_samples_crystals_beside_molecules(copper, tmp_path):
    tlpot.sample(
        {"copper": copper, "water": molecule("H2O")}, tmp_path / "x.h5",
        engine=f"ase:{__name__}:Bare", level="bare", methods="noise", budget=3,
    )  # fmt: skip
    dataset = tlpot.open_dataset(tmp_path / "x.h5")
    assert dataset.levels["bare"].kinds == {"energy", "forces"}
    assert [frame.system.pbc.all() for frame in dataset] == [True] * 3 + [False] * 3
