"""Clusters cut out of liquid water, without labels, for the set of `peptides.py`.

    python liquid_water.py FILE.h5 --frames 3000 [--models tlpot-peptides tlpot-peptides-tiny]

Half of them are of flexible TIP3P (OpenMM: `tlpot[openmm]`) at 280 to 480 K and 0.85 to 1.25 g/cm³,
a quarter of these displaced by noise. The other half are of models' own dynamics, from there, at
the same density: where a model does not hold liquid water, also of the way in which it falls
apart, which is what it has to learn. Then

    python peptides.py DIR --kinds --more FILE.h5 --aimnet2 ... --ani ...
"""

import argparse
import json
from itertools import count, cycle
from pathlib import Path

import h5py
import numpy as np
import openmm as mm
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from openmm import app, unit

import tlpot
from tlpot.errors import GeometryError

MOLECULES = 64
SIZES = (3, 20)
"""Molecules of a cluster."""
STEPS, EVERY = 480, 16
"""Of 0.5 fs, of the model's dynamics, and from one snapshot to the next."""
HOT = 2500.0
"""K; beyond, nothing is left that is worth a label."""


def boxes(seed):
    """Yields snapshots of TIP3P, each of a box with another temperature and density."""
    rng = np.random.default_rng(seed)
    field = app.ForceField("amber14/tip3p.xml")
    for k in count():
        density, temperature = rng.uniform(0.85, 1.25), rng.uniform(280, 480)
        side = (MOLECULES * 18.015 / (0.60221 * density)) ** (1 / 3)
        modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
        modeller.addSolvent(field, numAdded=MOLECULES)
        modeller.topology.setPeriodicBoxVectors(np.eye(3) * side / 10 * unit.nanometer)
        system = field.createSystem(
            modeller.topology, nonbondedMethod=app.PME, rigidWater=False,
            nonbondedCutoff=0.049 * side * unit.nanometer,
        )  # fmt: skip
        integrator = mm.LangevinMiddleIntegrator(temperature, 5, 0.0005)
        platform = mm.Platform.getPlatformByName("CPU")
        context = mm.Context(system, integrator, platform, {"Threads": "1"})
        context.setPositions(modeller.positions)
        mm.LocalEnergyMinimizer.minimize(context, maxIterations=300)
        context.setVelocitiesToTemperature(temperature, k)
        integrator.step(6000)
        for _ in range(6):
            integrator.step(1000)
            positions = context.getState(positions=True).getPositions(asNumpy=True)
            yield Atoms(
                "OH2" * MOLECULES,
                positions.value_in_unit(unit.angstrom),
                cell=[side] * 3,
                pbc=True,
                info={"temperature": temperature},
            )


def own_dynamics(atoms, calculator, rng):
    """Yields snapshots of a model's dynamics, until they are too hot."""
    atoms = atoms.copy()
    atoms.calc = calculator
    temperature = atoms.info["temperature"]
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(
        atoms, 0.5 * units.fs, temperature_K=temperature, friction=0.01 / units.fs, rng=rng
    )
    for _ in range(STEPS // EVERY):
        try:
            dynamics.run(EVERY)
        except GeometryError:
            return
        if not atoms.get_temperature() < HOT:
            return
        yield atoms.copy()


def cluster(atoms, rng):
    """Returns a molecule of a box and those next to it, whole."""
    x = atoms.positions.reshape(-1, 3, 3)
    side = atoms.cell.lengths()
    x = x[:, :1] + (x - x[:, :1] + side / 2) % side - side / 2
    centre = x[rng.integers(len(x)), 0]
    shift = (x[:, 0] - centre + side / 2) % side - side / 2 - x[:, 0]
    order = np.argsort(np.linalg.norm(x[:, 0] + shift - centre, axis=1))
    return (x + shift[:, None])[order[: rng.integers(SIZES[0], SIZES[1] + 1)]].reshape(-1, 3)


def write(file, found):
    """Writes clusters by their number of molecules."""
    with h5py.File(file, "w") as out:
        units_of_labels = {"energy": "hartree", "forces": "hartree/angstrom"}  # to come
        out.attrs["units"] = json.dumps({"coordinates": "angstrom", **units_of_labels})
        out.attrs["levels"] = "{}"
        for number, geometries in sorted(found.items()):
            group = out.create_group(f"liquid_h2o-{number}")
            group.attrs.update(kind="liquid", smiles=".".join("O" * number))
            group["atomic_numbers"] = np.tile([8, 1, 1], number)
            group["coordinates"] = np.array(geometries, dtype="f4")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--models", nargs="+", default=["tlpot-peptides", "tlpot-peptides-tiny"])
    parser.add_argument("--level", default="aimnet2")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng, found, hot = np.random.default_rng(given.seed), {}, 0
    calculators = [tlpot.TLPotCalculator(model, level=given.level) for model in given.models]
    field, own = 0, 0
    for box, calculator in zip(boxes(given.seed), cycle(calculators), strict=False):
        for _ in range(24):
            if field < given.frames // 2:
                x = cluster(box, rng)
                noise = rng.uniform(0.02, 0.06) * (rng.random() < 0.25)
                found.setdefault(len(x) // 3, []).append(x + noise * rng.normal(size=x.shape))
                field += 1
        for snapshot in own_dynamics(box, calculator, rng):
            hot = max(hot, snapshot.get_temperature())
            if own < given.frames - given.frames // 2:
                x = cluster(snapshot, rng)
                found.setdefault(len(x) // 3, []).append(x)
                own += 1
        print(f"{field} of the field, {own} of the models, {hot:.0f} K at most", flush=True)
        write(given.file, found)
        if field + own >= given.frames:
            break


if __name__ == "__main__":
    main()
