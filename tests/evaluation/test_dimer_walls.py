"""Dimer walls: known holes are found where they are, and sound walls are left in peace."""

import numpy as np
import pytest
import torch
from ase.data import covalent_radii
from probe_toys import PairToy, repulsion
from toys import E0, ToyModel

from tlpot.evaluation import scan_dimers
from tlpot.evaluation.walls import find_hole
from tlpot.models import load

CC = 2 * covalent_radii[6]


def holed(r):
    """A wall with a Gaussian hole at 0.9 Å, inside the shortest C–C bond (0.7 · 1.52 Å)."""
    return repulsion(r) - 15.0 * torch.exp(-(((r - 0.9) / 0.06) ** 2))


def test_a_repulsive_toy_has_no_hole_and_its_wall_is_right():
    scan = scan_dimers(PairToy(references={1: -3.0, 6: -7.0}), [6, 1])
    assert [d.name for d in scan.dimers] == ["H-H", "C-H", "C-C"]
    for dimer in scan.dimers:
        curve, r = dimer.new, dimer.new.distances[0]
        assert curve.hole is None
        assert r == pytest.approx(0.5 * covalent_radii[list(dimer.elements)].sum())
        assert curve.wall == pytest.approx(100 * np.exp(-2 * r) * (1 - (r / 4) ** 2) ** 4)
        assert abs(curve.step) < 1e-9
        assert abs(curve.kink) < 1e-6
        assert not dimer.worse
    assert "no holes, none weak, of 3 pairs" in scan.summary()


def test_a_hole_is_found_where_it_is():
    scan = scan_dimers(PairToy(pair=holed), [6], parent=PairToy())
    (dimer,) = scan.dimers
    hole = dimer.new.hole
    assert hole.distance == pytest.approx(0.9, abs=0.02)
    model = PairToy(pair=holed)
    fine = np.linspace(0.8, 2.3, 4000)
    exact = model.pair(torch.tensor(fine)).numpy() * (1 - (fine / 4) ** 2) ** 4
    top = exact[(fine > 0.9) & (fine < 1.3)].max()
    assert hole.depth == pytest.approx(top - exact[fine < 1.1].min(), rel=0.03)
    assert hole.barrier == pytest.approx(
        top - exact[(fine > 0.7 * CC) & (fine <= 1.5 * CC)].min(), rel=0.03
    )
    assert hole.bottom == pytest.approx(hole.barrier - hole.depth)
    assert dimer.parent.hole is None
    assert dimer.worse
    text = scan.text()
    assert "← worse" in text
    assert "behind" in text
    found = scan.as_json()["C-C"]
    assert found["worse"] is True
    assert found["new"]["hole"]["distance"] == hole.distance
    assert found["parent"]["hole"] is None


def test_a_hole_that_the_parent_has_too_is_not_the_transfers_fault():
    scan = scan_dimers(PairToy(pair=holed), [6], parent=PairToy(pair=holed))
    assert scan.dimers[0].new.hole is not None
    assert not scan.dimers[0].worse
    assert "1 hole, none weak (parent: 1 hole, none weak), of 1 pairs" in scan.summary()


def test_an_attractive_singularity_is_a_hole_without_a_barrier():
    (dimer,) = scan_dimers(PairToy(pair=lambda r: -1.0 / r), [8]).dimers
    assert dimer.new.hole.barrier == 0.0
    assert dimer.new.hole.distance == dimer.new.distances[0]
    assert "without a barrier" in dimer.new.hole.words()
    assert dimer.parent is None


def test_a_bond_is_no_hole():
    scan = scan_dimers(ToyModel(), list(E0))
    assert all(dimer.new.hole is None for dimer in scan.dimers)


def test_a_second_minimum_at_the_distance_of_a_bond_is_no_hole():
    r = np.arange(0.76, 4.0, 0.02)
    energies = 1e3 * np.exp(-8 * r) - np.exp(-(((r - 1.2) / 0.1) ** 2))
    energies -= 3 * np.exp(-(((r - 1.9) / 0.1) ** 2))
    assert energies[np.abs(r - 1.4).argmin()] > energies[np.abs(r - 1.2).argmin()]
    assert find_hole(r, energies, CC) is None
    deeper = energies - 30 * np.exp(-(((r - 0.9) / 0.05) ** 2))
    assert find_hole(r, deeper, CC).distance == pytest.approx(0.9, abs=0.02)


def test_ripples_of_the_network_are_no_holes():
    r = np.arange(0.76, 4.0, 0.02)
    assert find_hole(r, 5 / r + 0.01 * np.sin(40 * r), CC) is None


def test_a_wall_that_is_no_wall_is_weak():
    soft = PairToy(pair=lambda r: 0.02 * repulsion(r))
    (dimer,) = scan_dimers(soft, [6], parent=PairToy(pair=lambda r: 5 * repulsion(r))).dimers
    assert dimer.new.hole is None
    assert dimer.new.weak
    assert dimer.worse
    assert not dimer.parent.weak
    grid, at = dimer.new.distances, dimer.new.energies
    assert dimer.new.rise == pytest.approx(at[0] - at[grid <= 1.5 * CC][-1])
    assert "weak" in dimer.new.words()
    (same,) = scan_dimers(soft, [6], parent=soft).dimers
    assert not same.worse


def test_a_step_at_the_cutoff_is_reported():
    (dimer,) = scan_dimers(PairToy(fades=False), [1]).dimers
    assert dimer.new.step == pytest.approx(1e3 * 100 * np.exp(-8.0), rel=1e-3)
    assert dimer.new.kink == pytest.approx(2e3 * 100 * np.exp(-8.0), rel=1e-3)


def test_the_shipped_model_has_sound_walls():
    model = load("tlpot-tiny", device="cpu").at()
    scan = scan_dimers(model, model.elements)
    assert len(scan.dimers) == 10
    assert all(d.new.words() == "sound" for d in scan.dimers)
