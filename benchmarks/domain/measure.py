"""False alarms, detection and cost of the domain check: python measure.py MODEL... --data DIR.

DIR holds residues.h5 and pairs.h5 of sample.py (for tlpot-fragments), and s66x8_wb97x6-31gd.h5 of
COMP6 (https://github.com/isayev/COMP6, MIT; for tlpot-tiny). GFN2-xTB forces are computed here.

Inside are the test frames, which neither training nor domain has seen. Outside are

tlpot-tiny       S66x8 dimers at wB97X/6-31G*, the model's level: clusters of water and molecules of
                 other kinds, three distances of each. A molecule with an element that the model
                 lacks is refused by it and needs no check
tlpot-fragments  disulfides, charged pairs in contact and apart, boxes and clusters of water, all
                 distorted at random by 0.03 Å, at GFN2-xTB

A frame is wrong if the RMSE of its forces is above the 95 % quantile of the test frames. AUROC is
of 1 - domain as a test for wrong frames, over inside and outside together. Costs are medians of
pairs of force calls with and without the check, of the time of this thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from ase.units import Hartree
from outside import charged_pair, disulfide, water
from split import FRAGMENTS, FRAGMENTS_LEVEL, TINY, TINY_LEVEL, fragment_frames, tiny_frames

from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import WARNING_LEVEL, load
from tlpot.system import System

MOST_TEST = 300


def measured(model, systems: Sequence[System], forces) -> tuple[np.ndarray, np.ndarray]:
    """Returns domain and force RMSE, eV/Å, of each structure."""
    domains, errors = [], []
    for system, reference in zip(systems, forces, strict=True):
        graph = build_graph([system], model.cutoff, layout=model.layout)
        found = evaluate(model, graph, domain=True)
        domains.append(float(found.domain))
        errors.append(np.sqrt(np.mean((found.forces.numpy() - reference) ** 2)))
    return np.array(domains), np.array(errors)


def domain_of(model, system: System) -> float:
    graph = build_graph([system], model.cutoff, layout=model.layout)
    return float(evaluate(model, graph, forces=False, domain=True).domain)


def auroc(scores: np.ndarray, wrong: np.ndarray) -> float:
    """The share of pairs of a wrong frame and a right one that the scores order rightly."""
    above = scores[wrong][:, None] - scores[~wrong][None]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


def report(name: str, model, inside, outside: dict) -> None:
    domain, error = measured(model, *inside)
    limit = np.quantile(error, 0.95)
    print(f"{name}: {len(domain)} test frames, force RMSE {error.mean():.3f} eV/Å, wrong above "
          f"{limit:.3f}; false alarms {np.mean(domain < WARNING_LEVEL):.1%}")  # fmt: skip
    every, errors = [domain], [error]
    for kind, (systems, forces) in outside.items():
        domain, error = measured(model, systems, forces)
        wrong = error > limit
        missed = np.sum(wrong & (domain >= WARNING_LEVEL))
        print(f"  {kind}: {len(domain)} frames, {wrong.sum()} wrong, warned of "
              f"{np.sum(domain < WARNING_LEVEL)}, wrong and not warned of {missed}")  # fmt: skip
        every.append(domain)
        errors.append(error)
    all_wrong = np.concatenate(errors) > limit
    print(f"  AUROC, inside and outside {auroc(1 - np.concatenate(every), all_wrong):.3f}, inside "
          f"alone {auroc(1 - every[0], errors[0] > limit):.3f}")  # fmt: skip
    largest = max(inside[0], key=len)
    for what, system in (("median", inside[0][len(inside[0]) // 2]), ("largest", largest)):
        print(f"  cost on a force call, {what} test frame of {len(system)} atoms: "
              f"{cost(model, system):+.1%}")  # fmt: skip


def cost(model, system: System, repeats: int = 60) -> float:
    graph = build_graph([system], model.cutoff, layout=model.layout)
    ratios = []
    for k in range(repeats):
        spent = {}
        for domain in (True, False) if k % 2 else (False, True):
            begun = time.thread_time()
            evaluate(model, graph, domain=domain)
            spent[domain] = time.thread_time() - begun
        ratios.append(spent[True] / spent[False] - 1.0)
    return float(np.median(ratios[4:]))


def tiny(data: Path) -> None:
    dataset, split = tiny_frames()
    frames = dataset.read(split.test, (TINY_LEVEL,))
    inside = [f.system for f in frames], [f.labels[TINY_LEVEL].forces for f in frames]
    kinds: dict = {"water dimers": ([], []), "other dimers": ([], [])}
    with h5py.File(data / "s66x8_wb97x6-31gd.h5") as handle:
        for group in handle["s66x8"].values():
            numbers = np.array([atomic_numbers[s.decode()] for s in group["species"][:]])
            kind = kinds["water dimers" if sorted(numbers) == [1] * 4 + [8] * 2 else "other dimers"]
            for k in (0, 2, 7):
                kind[0].append(_system(Atoms(numbers, group["coordinates"][k])))
                kind[1].append(-group["forces"][k] * Hartree)  # gradients, whatever they are called
    report(TINY, load(TINY, device="cpu").at(), inside, kinds)


def fragments(data: Path) -> None:
    model = load(FRAGMENTS, device="cpu").at(FRAGMENTS_LEVEL)
    dataset, split = fragment_frames(data)
    every = [f.system for f in dataset.read(np.sort(split.test), ())]
    alarms = np.array([domain_of(model, system) for system in every]) < WARNING_LEVEL
    print(f"{FRAGMENTS}: false alarms {alarms.mean():.1%} of all {len(every)} test frames")
    rng = np.random.default_rng(0)
    test = rng.permutation(split.test)[:MOST_TEST]
    charged = dataset.dataset  # with the charges that GFN2-xTB needs
    inside = _labelled([_atoms(f.system) for f in charged.read(np.sort(test), ())])
    thiols, cations = ("CH3SH", "SH2", "CH3CH2SH"), ("ammonium", "methylammonium")
    gaps, sides = (1.4, 1.6, 1.8, 2.2, 3.0, 4.0), ((2, 1, 1), (2, 2, 1), (2, 2, 2), (3, 3, 3))
    kinds = {
        "disulfides": [disulfide(one, rng) for one in thiols for _ in range(12)],
        "charged pairs": [charged_pair(one, g, rng) for one in cations for g in gaps * 3],
        "water": [water(side, rng) for side in sides for _ in range(6)],
    }
    report(FRAGMENTS, model, inside, {k: _labelled(v) for k, v in kinds.items()})


def _labelled(frames: Sequence[Atoms]):
    from tblite.ase import TBLite

    systems, forces = [], []
    for atoms in frames:
        charge = int(atoms.info.get("charge", 0))
        atoms.calc = TBLite(method="GFN2-xTB", charge=charge, verbosity=0, max_iterations=1000)
        forces.append(atoms.get_forces())
        systems.append(_system(atoms))
    return systems, forces


def _system(atoms: Atoms) -> System:
    return System(atomic_numbers=atoms.numbers.astype(np.int64), positions=atoms.positions,
                  cell=atoms.cell.array, pbc=atoms.pbc)  # fmt: skip


def _atoms(system: System) -> Atoms:
    return Atoms(system.atomic_numbers, system.positions, info={"charge": system.charge})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", choices=(TINY, FRAGMENTS))
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if TINY in options.models:
        tiny(options.data)
    if FRAGMENTS in options.models:
        fragments(options.data)


if __name__ == "__main__":
    main()
