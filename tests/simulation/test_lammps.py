"""tlpot's forces in LAMMPS: those of ASE whatever the order of atoms, dynamics, errors, units."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from needs import needs
from toys import ToyModel

from tlpot.calculators import TLPotCalculator
from tlpot.errors import ConfigError, SimulationError, UnknownElementError
from tlpot.simulation import LAMMPSForce, start_lammps

needs("lammps")
pytestmark = pytest.mark.external

QUIET = ("-screen", "none", "-log", "none", "-nocite")
BAR = 1e-5 * units.Pascal / 1e-10  # eV/Å³ of one bar
KILOCALORIE = units.kcal / units.mol


def waters(*, tilted: bool = False) -> Atoms:
    """27 molecules in a box."""
    cell = np.diag([9.3, 9.3, 9.3])
    if tilted:
        cell[1, 0], cell[2, 0], cell[2, 1] = 1.1, -0.7, 0.9
    one, rng = molecule("H2O"), np.random.default_rng(0)
    places = np.stack(np.meshgrid(*[[0.0, 3.1, 6.2]] * 3), axis=-1).reshape(-1, 3)
    atoms = Atoms(cell=cell, pbc=True)
    for place in places:
        turned = one.copy()
        turned.euler_rotate(*rng.uniform(0, 360, 3))
        turned.positions += place + 1.5
        atoms += turned
    atoms.cell[:] = cell
    return atoms


def started(atoms: Atoms, style: str = "metal", seed: int = 3, boundary: str = "p p p"):
    """LAMMPS with the atoms, O and H types, as rows of any order."""
    lammps = start_lammps(*QUIET)
    cell = atoms.cell.array if atoms.pbc.any() else np.eye(3) * 40.0
    lammps.commands_string(
        f"""
units {style}
atom_style atomic
atom_modify map array
boundary {boundary}
region box prism 0 {cell[0, 0]} 0 {cell[1, 1]} 0 {cell[2, 2]} {cell[1, 0]} {cell[2, 0]} {cell[2, 1]}
create_box 2 box
mass 1 15.999
mass 2 1.008
pair_style zero 4.0
pair_coeff * *
neighbor 1.0 bin
thermo_style custom step temp pe press pxx pyy pzz pxy pxz pyz vol etotal
"""
    )
    order = np.random.default_rng(seed).permutation(len(atoms))
    lammps.create_atoms(
        len(atoms),
        (order + 1).tolist(),
        [1 if z == 8 else 2 for z in atoms.numbers[order]],
        atoms.positions[order].ravel().tolist(),
    )
    return lammps


def forces_by_tag(lammps) -> np.ndarray:
    n = lammps.extract_global("nlocal")
    tags = lammps.numpy.extract_atom("id")[:n]
    return lammps.numpy.extract_atom("f")[:n][np.argsort(tags)]


@pytest.mark.parametrize("tilted", [False, True])
@pytest.mark.parametrize("style", ["metal", "real"])
def test_energy_forces_and_virial_are_those_of_ase(tilted, style):
    atoms = waters(tilted=tilted)
    force = LAMMPSForce(lammps := started(atoms, style), ToyModel(), elements=["O", "H"])
    force.run("run 0")
    atoms.calc = TLPotCalculator(ToyModel())
    unit = 1.0 if style == "metal" else KILOCALORIE
    assert lammps.get_thermo("pe") * unit == pytest.approx(atoms.get_potential_energy(), rel=1e-9)
    np.testing.assert_allclose(forces_by_tag(lammps) * unit, atoms.get_forces(), atol=1e-6)
    found = [lammps.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")]
    pressure = -atoms.get_stress() / (BAR if style == "metal" else 1.01325 * BAR)
    np.testing.assert_allclose(found, pressure, rtol=1e-5, atol=1e-5 * np.abs(pressure).max())


def test_a_molecule_in_vacuum():
    atoms = molecule("H2O")
    atoms.positions += 20.0
    lammps = started(atoms, boundary="f f f")
    LAMMPSForce(lammps, "tlpot-tiny", elements=["O", "H"], dtype="float64").run("run 0")
    atoms.calc = TLPotCalculator("tlpot-tiny", dtype="float64")
    np.testing.assert_allclose(forces_by_tag(lammps), atoms.get_forces(), atol=1e-6)
    virial = np.einsum("ni,ni->i", atoms.positions, atoms.get_forces()) / 40.0**3 / BAR
    found = [lammps.get_thermo(name) for name in ("pxx", "pyy", "pzz")]
    np.testing.assert_allclose(found, virial, rtol=1e-5, atol=1e-6)


def test_energy_is_kept_while_atoms_change_their_order():
    found = []
    for timestep in (0.0005, 0.00025):
        force = LAMMPSForce(lammps := started(waters()), ToyModel(), elements=["O", "H"])
        lammps.commands_string(
            f"velocity all create 300 1 loop all\nfix 1 all nve\ntimestep {timestep}\n"
            "atom_modify sort 5 1.0\nneigh_modify every 1 delay 0 check no\nrun 0"
        )
        totals = []
        for _ in range(10):
            force.run(f"run {round(0.002 / timestep)} post no")
            totals.append(lammps.get_thermo("etotal"))
        found.append(np.ptp(totals))
        tags = lammps.numpy.extract_atom("id")[: lammps.extract_global("nlocal")]
        assert (np.diff(tags) < 0).any()
    assert found[1] < 0.5 * found[0]


def test_the_barostat_feels_the_virial():
    """The box goes where the pressure of ASE, of hundreds of bar, drives it."""
    atoms = waters()
    atoms.calc = TLPotCalculator(ToyModel(cutoff=4.0))
    pressure = -atoms.get_stress()[:3].mean()
    assert abs(pressure) > 1000 * BAR
    force = LAMMPSForce(lammps := started(atoms), ToyModel(cutoff=4.0), elements=["O", "H"])
    lammps.commands_string(
        "velocity all create 300 1\nfix 1 all npt temp 300 300 0.05 iso 1 1 0.2\ntimestep 0.0005"
    )
    force.run("run 0 post no")
    before = lammps.get_thermo("vol")
    force.run("run 30 post no")
    assert (lammps.get_thermo("vol") - before) * pressure > 0.0


def test_minimisation():
    force = LAMMPSForce(lammps := started(waters()), ToyModel(), elements=["O", "H"])
    force.run("run 0")
    before = lammps.get_thermo("pe")
    force.run("min_style fire\nminimize 0 1e-2 20 100")
    assert lammps.get_thermo("pe") < before


class Failing(ToyModel):
    """From the third evaluation on."""

    seen: list[int] = []  # noqa: RUF012

    def atomic_energies(self, graph):
        self.seen.append(0)
        if len(self.seen) > 2:
            raise KeyError("H")
        return super().atomic_energies(graph)


def test_an_error_stops_the_run():
    Failing.seen.clear()
    force = LAMMPSForce(lammps := started(waters()), Failing(), elements=["O", "H"])
    lammps.commands_string("fix 1 all nve\ntimestep 0.0005")
    with pytest.raises(KeyError, match="H"):
        force.run("run 100 post no")
    assert lammps.extract_global("ntimestep") < 10


@pytest.mark.fault
@pytest.mark.parametrize("per_atom", [False, True])
def test_masses_that_are_those_of_other_elements_are_refused(per_atom):
    def swapped(*masses):
        lammps = start_lammps(*QUIET)
        style = "sphere" if per_atom else "atomic"
        lammps.commands_string(
            f"units metal\natom_style {style}\natom_modify map array\nboundary f f f\n"
            "region box block 0 40 0 40 0 40\ncreate_box 2 box\npair_style zero 4.0\n"
            "create_atoms 1 single 20 20 20\ncreate_atoms 2 single 20 20 21.1"
        )
        for kind, mass in enumerate(masses, 1):
            lammps.command(f"set type {kind} mass {mass}" if per_atom else f"mass {kind} {mass}")
        return lammps

    with pytest.raises(ConfigError, match=r"type 1 .* mass 12\.011, .* of C, .* says H \(1\.008\)"):
        LAMMPSForce(swapped(12.011, 1.008), ToyModel(), elements=["H", "C"])
    with pytest.raises(ConfigError, match=r"type 1 .* mass 14\.007, .* of N, .* says C"):
        LAMMPSForce(swapped(14.007, 1.008), ToyModel(), elements=["C", "H"])
    for carbon, hydrogen in ((12.0, 1.0), (13.003, 2.014), (12.011, 3.016)):
        LAMMPSForce(swapped(carbon, hydrogen), ToyModel(), elements=["C", "H"])
    with pytest.raises(ConfigError, match=r"type 1 .* mass 5\.963"):
        LAMMPSForce(swapped(5.963, 3.024), ToyModel(), elements=["C", "H"])
    LAMMPSForce(swapped(5.963, 3.024), ToyModel(), elements=["C", "H"], other_masses=True)


def test_what_makes_no_sense():
    atoms = waters()
    with pytest.raises(ConfigError, match="metal or real"):
        LAMMPSForce(started(atoms, "si"), ToyModel(), elements=["O", "H"])
    with pytest.raises(ConfigError, match="2 symbols"):
        LAMMPSForce(started(atoms), ToyModel(), elements=["O"])
    with pytest.raises(UnknownElementError, match="Si"):
        LAMMPSForce(started(atoms), "tlpot-tiny", elements=["O", "Si"])
    force = LAMMPSForce(lammps := started(atoms), ToyModel(), elements=["O", "H"])
    force.run("run 0")
    lammps.commands_string("group gone id 1 2 3\ndelete_atoms group gone")
    with pytest.raises(SimulationError, match="78 atoms"):
        force.run("run 0")
