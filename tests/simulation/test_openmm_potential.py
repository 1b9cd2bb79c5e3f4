"""The plug-in in OpenMM itself: pure and mixed systems, caps, boxes, barostat, XML, refusals."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from ase import Atoms, units
from needs import needs
from toys import ToyModel

from tlpot.calculators import FragmentCalculator, TLPotCalculator
from tlpot.errors import ConfigError, GeometryError, MissingExtraError, TLPotError, TLPotWarning
from tlpot.fragments.layer import openmm_topology
from tlpot.models import Potential, preset, save
from tlpot.structures import build_peptide
from tlpot.topology import perceive_topology

mm, app, MLPotential = needs("openmm"), needs("openmm.app"), needs("openmmml").MLPotential

pytestmark = pytest.mark.external

KILOJOULE = units.kJ / units.mol
NANOMETRE = 10.0
WATER_BOX = 1.9
FRAGMENTS = {"model": "tlpot-fragments", "level": "pbe-d3bj/def2-svp"}


@dataclass(frozen=True, kw_only=True)
class Counting(ToyModel):
    """Keeps note of how often it was asked."""

    elements: tuple[int, ...] = (1, 6, 7, 8)
    asked: list[int] = field(default_factory=list)

    def atomic_energies(self, graph):
        self.asked.append(graph.n_atoms)
        return super().atomic_energies(graph)


@dataclass(kw_only=True)
class Solvated:
    """A molecular-mechanics system with its structure, nm."""

    topology: app.Topology
    positions: np.ndarray
    field: app.ForceField

    def system(self, method=app.PME, **options):
        if method is not app.NoCutoff:
            options.setdefault("nonbondedCutoff", 0.7)
        return self.field.createSystem(self.topology, nonbondedMethod=method, **options)

    def peptide(self):
        return [a.index for a in self.topology.atoms() if a.residue.name != "HOH"]

    def mixed(self, region, mm_system=None, *, method=None, info=False, **settings):
        potential = MLPotential("tlpot", **(method or {"model": ToyModel()}))
        return potential.createMixedSystem(
            self.topology, mm_system or self.system(), region, returnInfo=info, **settings
        )

    def atoms(self, indices, periodic):
        numbers = [a.element.atomic_number for a in self.topology.atoms()]
        found = Atoms(np.array(numbers)[indices], self.positions[indices] * NANOMETRE)
        if periodic:
            box = self.topology.getPeriodicBoxVectors()._value
            found.set_cell(NANOMETRE * np.array([[v.x, v.y, v.z] for v in box]))
            found.pbc = True
        return found


@pytest.fixture(scope="module")
def field_():
    return app.ForceField("amber14-all.xml", "amber14/tip3p.xml")


@pytest.fixture(scope="module")
def peptide(field_):
    """Capped alanine in water, minimised a little."""
    atoms = build_peptide("A")
    topology, order = openmm_topology(perceive_topology(atoms))
    modeller = app.Modeller(
        topology, mm.unit.Quantity(atoms.positions[order] / 10, mm.unit.nanometer)
    )
    modeller.addSolvent(field_, boxSize=mm.Vec3(WATER_BOX, WATER_BOX, WATER_BOX))
    found = Solvated(topology=modeller.topology, positions=np.zeros(0), field=field_)
    context = started(found.system(), np.array(modeller.positions._value))
    mm.LocalEnergyMinimizer.minimize(context, 10, 30)
    found.positions = context.getState(positions=True).getPositions(asNumpy=True)._value
    return found


@pytest.fixture(scope="module")
def water(field_):
    modeller = app.Modeller(app.Topology(), [])
    modeller.addSolvent(field_, boxSize=mm.Vec3(WATER_BOX, WATER_BOX, WATER_BOX))
    return Solvated(
        topology=modeller.topology, positions=np.array(modeller.positions._value), field=field_
    )


def started(system, positions, platform="Reference", *, timestep=0.0005):
    """A context at positions, nm; caps follow."""
    integrator = mm.VerletIntegrator(timestep)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName(platform))
    rest = np.zeros((system.getNumParticles() - len(positions), 3))
    context.setPositions(np.concatenate([positions, rest]))
    context.computeVirtualSites()
    return context


def results(context):
    """Energy, kJ/mol, and forces, kJ/mol/nm."""
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def of_calculator(atoms, calculator):
    atoms.calc = calculator
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    return energy / KILOJOULE, forces * NANOMETRE / KILOJOULE


def assert_derivatives(context, positions, chosen, rel=1e-6):
    """Forces are differences of energies."""
    _, forces = results(context)
    rest = np.zeros((len(forces) - len(positions), 3))
    for i in chosen:
        for axis in range(3):
            found = []
            for step in (1e-5, -1e-5):
                moved = positions.copy()
                moved[i, axis] += step
                context.setPositions(np.concatenate([moved, rest]))
                context.computeVirtualSites()
                found.append(results(context)[0])
            slope = (found[1] - found[0]) / 2e-5
            assert slope == pytest.approx(forces[i, axis], abs=rel * np.abs(forces).max())


def test_a_pure_system_is_what_ase_has(water):
    system = MLPotential("tlpot", model=ToyModel()).createSystem(water.topology)
    energy, forces = results(context := started(system, water.positions))
    atoms = water.atoms(np.arange(len(water.positions)), periodic=True)
    expected, gradient = of_calculator(atoms, TLPotCalculator(ToyModel()))
    assert energy == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(forces, gradient, atol=1e-8)
    assert len(context.getMolecules()) == len(water.positions) // 3


def far_dispersion(system, positions, cutoff):
    """Lennard-Jones terms beyond a cutoff, kJ/mol, and their forces: in vacuum nothing is cut."""
    (nonbonded,) = (f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    rows = [nonbonded.getParticleParameters(i) for i in range(len(positions))]
    sigma, depth = (np.array([row[k]._value for row in rows]) for k in (1, 2))
    vectors = positions[:, None] - positions
    far = np.linalg.norm(vectors, axis=2)
    far[far < cutoff] = np.inf
    sixth = (0.5 * (sigma[:, None] + sigma) / far) ** 6
    deep = 4.0 * np.sqrt(depth[:, None] * depth)
    slope = deep * (12.0 * sixth**2 - 6.0 * sixth) / far**2
    return 0.5 * (deep * (sixth**2 - sixth)).sum(), (slope[..., None] * vectors).sum(axis=1)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
@pytest.mark.parametrize("waters", [0, 2])
def test_a_mixed_system_is_the_sum_of_its_parts(peptide, platform, waters):
    """Force field of everything, without its own terms of the region, plus the model's.

    The region's own terms are those of a system in vacuum, which openmmml knows nothing of.
    """
    model = ToyModel(cutoff=4.5)
    region = peptide.peptide()
    oxygens = np.arange(len(region), len(peptide.positions), 3)
    middle = peptide.positions[region].mean(axis=0)
    near = np.linalg.norm(peptide.positions[oxygens] - middle, axis=1).argsort()[:waters]
    region += [int(oxygens[k]) + j for k in near for j in range(3)]
    mm_system = peptide.system(rigidWater=False, ewaldErrorTolerance=1e-7)
    mixed = peptide.mixed(region, mm_system, method={"model": model})
    energy, forces = results(context := started(mixed, peptide.positions, platform))
    whole = started(mm_system, peptide.positions)
    assert len(context.getMolecules()) == len(whole.getMolecules())

    alone = app.Modeller(peptide.topology, peptide.positions)
    inside, order = set(region), np.sort(region)
    alone.delete([atom for atom in peptide.topology.atoms() if atom.index not in inside])
    alone.topology.setPeriodicBoxVectors(None)
    vacuum = peptide.field.createSystem(
        alone.topology, nonbondedMethod=app.NoCutoff, rigidWater=False
    )
    own, own_forces = results(started(vacuum, peptide.positions[order]))
    far, far_forces = far_dispersion(vacuum, peptide.positions[order], 0.7)
    atoms = peptide.atoms(order, periodic=waters > 0)
    expected, gradient = of_calculator(atoms, TLPotCalculator(model))
    total, sums = results(whole)
    sums = sums.copy()
    sums[order] += gradient - own_forces + far_forces
    single = 1e-6 if platform == "Reference" else 1e-4
    assert energy - expected == pytest.approx(total - own + far, rel=single)
    np.testing.assert_allclose(forces, sums, atol=single * np.abs(sums).max())


@pytest.mark.parametrize(
    "method",
    [
        {"model": "tlpot-tiny"},
        {**FRAGMENTS, "scheme": "mfcc"},
        {**FRAGMENTS, "scheme": "mfcc_mbe2", "low": "tlpot-fragments", "low_level": "gfn2-xtb"},
        {**FRAGMENTS, "scheme": "mfcc", "charges": "amber"},
        {**FRAGMENTS, "scheme": "ai2bmd"},
    ],
    ids=["whole", "fragments", "two layers", "charges", "ai2bmd"],
)
def test_models_and_fragments_are_those_of_ase(peptide, method):
    """What a second potential adds to the same system is the difference of the calculators."""
    region = peptide.peptide()
    energy, forces = results(started(peptide.mixed(region, method=method), peptide.positions))
    toy, toy_forces = results(started(peptide.mixed(region), peptide.positions))
    atoms = peptide.atoms(region, periodic=False)
    high, options = method["model"], {k: v for k, v in method.items() if k != "model"}
    make = FragmentCalculator if "scheme" in method else TLPotCalculator
    given = (atoms, high) if "scheme" in method else (high,)
    expected, gradient = of_calculator(atoms.copy(), make(*given, **options))
    base, base_gradient = of_calculator(atoms, TLPotCalculator(ToyModel()))
    assert energy - toy == pytest.approx(expected - base, rel=1e-9)
    np.testing.assert_allclose(
        (forces - toy_forces)[region], gradient - base_gradient, atol=1e-6 * np.abs(gradient).max()
    )
    outside = np.setdiff1d(np.arange(len(forces)), region)
    np.testing.assert_allclose(forces[outside], toy_forces[outside], atol=1e-6)


def side_chain(solvated):
    """The methyl group of alanine, which ends at the bond of CA and CB."""
    bonds = [(a.index, b.index) for a, b in solvated.topology.bonds()]
    every = list(solvated.topology.atoms())
    near = {i: {a + b - i for a, b in bonds if i in (a, b)} for i in solvated.peptide()}
    hydrogens = {i: [j for j in near[i] if every[j].element.symbol == "H"] for i in near}
    methyl = next(i for i in near if len(hydrogens[i]) == 3 and every[i].residue.name == "ALA")
    (alpha,) = near[methyl] - set(hydrogens[methyl])
    return [methyl, *hydrogens[methyl]], alpha, near


@pytest.mark.parametrize("method", [{"model": "tlpot-tiny"}, {**FRAGMENTS, "scheme": "mfcc"}])
def test_forces_with_caps_are_derivatives(peptide, method):
    region, alpha, _ = side_chain(peptide)
    vacuum = peptide.system(app.NoCutoff, rigidWater=False)
    info = peptide.mixed(region, vacuum, method={**method, "dtype": "float64"}, info=True)
    assert info["topology"].getNumAtoms() == len(peptide.positions) + 1
    context = started(info["system"], peptide.positions)
    assert_derivatives(context, peptide.positions, [region[0], region[1], alpha])


def test_a_cap_is_an_atom_of_its_molecule(peptide):
    region, _, _ = side_chain(peptide)
    context = started(peptide.mixed(region), peptide.positions)
    molecules = len(started(peptide.system(), peptide.positions).getMolecules())
    assert len(context.getMolecules()) == molecules
    forgotten = mm.Context(
        peptide.mixed(region),
        mm.VerletIntegrator(0.001),
        mm.Platform.getPlatformByName("Reference"),
    )
    cap = np.zeros((1, 3)) + peptide.positions[region[0]]
    forgotten.setPositions(np.concatenate([peptide.positions, cap]))
    with pytest.raises(mm.OpenMMException, match="computeVirtualSites"):
        forgotten.getState(energy=True)


def test_bonds_that_caps_cannot_replace_are_refused(peptide):
    _, alpha, near = side_chain(peptide)
    every = list(peptide.topology.atoms())
    (amide,) = (i for i in near[alpha] if every[i].element.symbol == "N")
    nitrogen_side = [amide, *(i for i in near[amide] if every[i].element.symbol == "H")]
    with pytest.raises(GeometryError, match=r"between N.* of ALA .*carbons"):
        peptide.mixed(nitrogen_side)
    with pytest.raises(GeometryError, match="HOH"):
        peptide.mixed([len(peptide.positions) - 1])


def test_a_double_bond_is_not_cut(field_):
    topology = app.Topology()
    residue = topology.addResidue("ETH", topology.addChain())
    carbon, hydrogen = app.element.carbon, app.element.hydrogen
    atoms = [topology.addAtom(f"{e.symbol}{k}", e, residue)
             for k, e in enumerate([carbon, carbon, *[hydrogen] * 4])]  # fmt: skip
    for a, b in [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]:
        topology.addBond(atoms[a], atoms[b])
    system = mm.System()
    for _ in atoms:
        system.addParticle(1.0)
    potential = MLPotential("tlpot", model=ToyModel())
    with pytest.raises(GeometryError, match="C0 of ETH 1 and C1 of ETH 1"):
        potential.createMixedSystem(topology, system, [0, 2, 3])


@pytest.mark.parametrize("apart", [1.9, 2.1])
def test_ends_of_a_long_region_attract_each_other_by_the_shorter_way_round_no_more(apart):
    """Half a box apart the force on two ends of one molecule turned round."""
    topology = app.Topology()
    residue = topology.addResidue("LNG", topology.addChain())
    ends = [topology.addAtom(f"C{k}", app.element.carbon, residue) for k in range(2)]
    topology.addBond(*ends)
    topology.setPeriodicBoxVectors(np.eye(3) * 4.0)
    system, nonbonded = mm.System(), mm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * 4.0))
    nonbonded.setNonbondedMethod(nonbonded.PME)
    nonbonded.setCutoffDistance(0.9)
    for charge in (1.0, -1.0):
        system.addParticle(12.0)
        nonbonded.addParticle(charge, 0.3, 0.0)
    system.addForce(nonbonded)
    mixed = MLPotential("tlpot", model=ToyModel()).createMixedSystem(topology, system, [0, 1])
    (kept,) = (f for f in mixed.getForces() if isinstance(f, mm.NonbondedForce))
    assert not kept.getExceptionsUsePeriodicBoundaryConditions()
    mixed.removeForce(next(k for k, f in enumerate(mixed.getForces()) if f.getName() == "tlpot"))
    _, forces = results(started(mixed, np.array([[0.0, 0, 0], [apart, 0, 0]])))
    assert forces[0, 0] < -20.0  # towards the image of the other end, on either side of 2 nm


def test_a_step_and_its_energy_cost_one_evaluation(water):
    model = Counting()
    context = started(
        water.mixed([0, 1, 2], method={"model": model}), water.positions, timestep=0.0001
    )
    integrator = context.getIntegrator()
    context.getState(energy=True)
    asked = len(model.asked)
    for _ in range(5):
        integrator.step(1)
        context.getState(energy=True, forces=True)
    assert len(model.asked) == asked + 5


def test_modes_of_torch_do_not_matter(water):
    context = started(water.mixed([0, 1, 2]), water.positions)
    _, expected = results(context)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            context = started(water.mixed([0, 1, 2]), water.positions)
            _, forces = results(context)
        np.testing.assert_array_equal(forces, expected)


class Failing(ToyModel):
    def atomic_energies(self, graph):
        raise KeyError("H")


def test_errors_reach_the_caller(water):
    context = started(water.mixed([0, 1, 2], method={"model": Failing()}), water.positions)
    with pytest.raises(mm.OpenMMException, match="KeyError: 'H'"):
        context.getState(energy=True)


def test_xml_holds_names_only(water):
    system = water.mixed([0, 1, 2], method={"model": "tlpot-tiny"})
    text = mm.XmlSerializer.serialize(system)
    again = mm.XmlSerializer.deserialize(text)
    plain = mm.XmlSerializer.serialize(water.system())
    assert len(text) < len(plain) + 20_000
    assert results(started(again, water.positions))[0] == pytest.approx(
        results(started(system, water.positions))[0], rel=1e-12
    )
    with pytest.raises(mm.OpenMMException, match="pickled"):
        mm.XmlSerializer.serialize(water.mixed([0, 1, 2]))


def test_interpolation_ends_at_force_field_and_mixed_system(water):
    method = {"model": "tlpot-tiny"}
    system = water.mixed([0, 1, 2], method=method, interpolate=True)
    context = started(system, water.positions)
    assert len(context.getMolecules()) == len(water.positions) // 3
    mixed = results(started(water.mixed([0, 1, 2], method=method), water.positions))[0]
    assert results(context)[0] == pytest.approx(mixed, abs=1e-3)
    context.setParameter("lambda_interpolate", 0.0)
    pure = results(started(water.system(), water.positions))[0]
    assert results(context)[0] == pytest.approx(pure, abs=1e-3)


def test_barostat_moves_whole_molecules(peptide):
    """Every third step at 1000 bar; bonds keep their lengths under the barostat's moves."""
    mm_system = peptide.system(constraints=app.HBonds, hydrogenMass=2.0)
    system = peptide.mixed(peptide.peptide(), mm_system, method={"model": "tlpot-tiny"})
    barostat = mm.MonteCarloBarostat(1000.0, 300.0, 1)
    barostat.setRandomNumberSeed(1)
    system.addForce(barostat)
    integrator = mm.LangevinMiddleIntegrator(300.0, 1.0, 1e-9)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("Reference"))
    context.setPositions(peptide.positions)
    volume = context.getState().getPeriodicBoxVolume()._value
    integrator.step(25)
    state = context.getState(positions=True)
    assert state.getPeriodicBoxVolume()._value != volume
    pairs = np.array([(a.index, b.index) for a, b in peptide.topology.bonds()]).T
    after = state.getPositions(asNumpy=True)._value
    lengths = [
        np.linalg.norm(x[pairs[0]] - x[pairs[1]], axis=1) for x in (peptide.positions, after)
    ]
    np.testing.assert_allclose(lengths[0], lengths[1], atol=1e-4)


def test_constraints_and_masses(peptide):
    """Those of the region go, those of the rest and repartitioned masses stay."""
    mm_system = peptide.system(constraints=app.HBonds, hydrogenMass=2.0)
    region = peptide.peptide()
    system = peptide.mixed(region, mm_system)
    pairs = [system.getConstraintParameters(k)[:2] for k in range(system.getNumConstraints())]
    assert pairs
    assert not {i for pair in pairs for i in pair} & set(region)
    masses = [[s.getParticleMass(i)._value for i in region] for s in (system, mm_system)]
    assert masses[0] == masses[1]
    kept = peptide.mixed(region, mm_system, removeConstraints=False)
    assert kept.getNumConstraints() == mm_system.getNumConstraints()
    context = started(kept, peptide.positions, timestep=0.001)
    context.applyConstraints(1e-8)
    context.getIntegrator().step(3)
    assert np.isfinite(results(context)[0])


def test_energy_is_kept_with_caps(peptide):
    """10 fs without constraints, in vacuum: the step's own error and nothing else."""
    region, _, _ = side_chain(peptide)
    mm_system = peptide.system(app.NoCutoff, rigidWater=False)
    found = []
    for timestep in (0.0005, 0.00025):
        system = peptide.mixed(
            region, mm_system, method={"model": "tlpot-tiny", "dtype": "float64"}
        )
        context = started(system, peptide.positions, timestep=timestep)
        context.setVelocitiesToTemperature(300.0, 1)
        totals = []
        for _ in range(round(0.01 / timestep)):
            context.getIntegrator().step(1)
            state = context.getState(energy=True)
            totals.append((state.getPotentialEnergy() + state.getKineticEnergy())._value)
        found.append(np.ptp(totals))
    assert found[1] < 0.5 * found[0]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({}, ConfigError, "model"),
        ({"model": "tlpot-tiny", "shceme": "mfcc"}, ConfigError, "scheme"),
        ({"model": "no-such-model"}, TLPotError, "no-such-model"),
        ({"model": "tlpot-fragments", "level": "ccsd"}, TLPotError, "ccsd"),
        ({**FRAGMENTS, "scheme": "sphere"}, mm.OpenMMException, "smooth"),
    ],
)
def test_settings_that_make_no_sense(water, settings, error, words):
    def run():
        potential = MLPotential("tlpot", **settings)
        system = potential.createMixedSystem(water.topology, water.system(), [0, 1, 2])
        results(started(system, water.positions))

    with pytest.raises(error, match=words):
        run()


@pytest.mark.fault
def test_a_difference_alone_is_refused_where_the_system_is_made(water, tmp_path):
    """OpenMM went as far as the first energy, and said it as an error of its own."""
    path = tmp_path / "delta.safetensors"
    none = {"high - low": dict.fromkeys((1, 6, 7, 8), 0.0)}
    save(Potential.create(preset("tiny", (1, 6, 7, 8)), none), path)
    with pytest.raises(ConfigError, match=r"difference.*low="):
        MLPotential("tlpot", model=str(path)).createSystem(water.topology)
    both = MLPotential("tlpot", model=str(path), low=TLPotCalculator(ToyModel()))
    assert both.createMixedSystem(water.topology, water.system(), [0, 1, 2]).getNumForces() > 1


def test_regions_that_make_no_sense(peptide, water):
    with pytest.raises(ConfigError, match="charge"):
        water.mixed([0, 1, 2], chrage=1)
    with pytest.raises(GeometryError, match=r"twice the range .*10\.0"):
        water.mixed(range(6), method={"model": ToyModel(cutoff=10.0)})
    wide = {"model": ToyModel(), "scheme": {"name": "mfcc_mbe2", "outer": 9.6}}
    with pytest.raises(GeometryError, match=r"twice the range .*9\.6"):
        water.mixed(range(6), method=wide)
    ions, strength = app.Modeller(app.Topology(), []), 0.5 * mm.unit.molar
    ions.addSolvent(water.field, boxSize=mm.Vec3(1.9, 1.9, 1.9), ionicStrength=strength)
    mm_system = water.field.createSystem(
        ions.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.7
    )
    sodium = next(a for a in ions.topology.atoms() if a.residue.name == "NA")
    potential = MLPotential("tlpot", model="tlpot-tiny")
    with pytest.raises(TLPotError, match=f"Na .*NA {sodium.residue.id}"):
        potential.createMixedSystem(ions.topology, mm_system, [sodium.index])


def n_exceptions(system) -> int:
    (force,) = (f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    return force.getNumExceptions()


@pytest.mark.parametrize("pairs", [app.PME, app.CutoffPeriodic, app.NoCutoff])
@pytest.mark.parametrize("cut", [False, True])
def test_a_large_region_does_without_exceptions(peptide, monkeypatch, pairs, cut):
    region = [*side_chain(peptide)[0]] if cut else peptide.peptide()
    method = peptide.system(pairs)
    plain = peptide.mixed(region, method)
    monkeypatch.setattr("tlpot.simulation.openmm.LARGE", 3)
    thin = peptide.mixed(region, method)
    energy, forces = results(started(plain, peptide.positions))
    found, gradient = results(started(thin, peptide.positions))
    # what is taken off is in single precision
    assert found == pytest.approx(energy, rel=1e-6)
    np.testing.assert_allclose(gradient, forces, atol=1e-5 * np.abs(forces).max())
    if not cut:
        assert n_exceptions(plain) - n_exceptions(thin) > 100
        again = mm.XmlSerializer.deserialize(
            mm.XmlSerializer.serialize(
                peptide.mixed(region, method, method={"model": "tlpot-tiny"})
            )
        )
        assert n_exceptions(again) == n_exceptions(thin)


def test_exceptions_of_a_large_region_are_told_of(water, monkeypatch):
    monkeypatch.setattr("tlpot.simulation.openmm.LARGE", 5)
    water.mixed(list(range(3)))
    with pytest.warns(TLPotWarning, match="15 pairs"):
        water.mixed(list(range(6)))


def test_charges_are_those_of_the_force_field(peptide, field_):
    atoms = build_peptide("D")
    topology, order = openmm_topology(perceive_topology(atoms))
    system = field_.createSystem(topology)
    every = list(range(topology.getNumAtoms()))

    def energy(model, **options):
        potential = MLPotential("tlpot", model=model)
        mixed = potential.createMixedSystem(topology, system, every, **options)
        return results(started(mixed, atoms.positions[order] / NANOMETRE))[0]

    reads = ToyModel(uses_charge=True)
    assert energy(reads) == energy(reads, charge=-1)
    with pytest.raises(ConfigError, match="charge is 0"):
        energy(reads, charge=0)
    with pytest.raises(ConfigError, match="does not read"):
        energy(ToyModel())
    with pytest.raises(ConfigError, match="ToyModel"):
        energy(reads, interpolate=True, charge=-1)
    with pytest.warns(TLPotWarning, match="electrons"):
        energy(ToyModel(), charge=0)


@pytest.mark.fault
def test_a_pure_system_has_the_charge_of_its_bonds():
    """The charge of a whole system was 0, for models that read none, too."""
    atoms = build_peptide("D")
    topology, order = openmm_topology(perceive_topology(atoms))

    def energy(model, positions=atoms.positions[order], **options):
        made = MLPotential("tlpot", model=model).createSystem(topology, **options)
        return results(started(made, positions / NANOMETRE))[0]

    reads = ToyModel(uses_charge=True)
    ion = atoms[order]
    ion.info = {"charge": -1}
    expected, _ = of_calculator(ion, TLPotCalculator(reads))
    assert energy(reads) == pytest.approx(expected, rel=1e-12)
    assert energy(reads, charge=-1) == energy(reads)
    assert energy(reads, charge=1) != energy(reads)
    with pytest.raises(mm.OpenMMException, match=r"charge -1, going by its bonds.*charge=0"):
        energy(ToyModel())
    with pytest.warns(TLPotWarning, match="electrons"):
        energy(ToyModel(), charge=0)
    broken = atoms.positions[order].copy()
    broken[-1] += 3.0  # a hydrogen far from its host
    with (
        pytest.warns(TLPotWarning, match=r"taken for 0, as bonds do not tell it.*charge="),
        pytest.raises(mm.OpenMMException, match="electrons"),
    ):
        energy(reads, broken)


def test_extra_sites_are_no_atoms(field_):
    modeller = app.Modeller(app.Topology(), [])
    four = app.ForceField("tip4pew.xml")
    modeller.addSolvent(four, model="tip4pew", boxSize=mm.Vec3(1.5, 1.5, 1.5))
    with pytest.raises(TLPotError, match="M of HOH 1 has no element"):
        MLPotential("tlpot", model=ToyModel()).createSystem(modeller.topology)


def test_old_programs_are_refused(monkeypatch):
    from tlpot.simulation import openmm

    monkeypatch.setattr(openmm, "version", lambda package: "8.5.2")
    with pytest.raises(MissingExtraError, match=r"OpenMM 8\.6.*8\.5\.2"):
        MLPotential("tlpot", model="tlpot-tiny")
