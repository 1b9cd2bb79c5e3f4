"""The job `frequencies`: refusals, kinds of stationary points, models, files."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms
from ase.io import read
from toys import ToyModel

from tlpot.api import frequencies, relax
from tlpot.calculators import DeltaCalculator, TLPotCalculator
from tlpot.dynamics.vibrations import AUTOMATIC, NUMERICAL
from tlpot.errors import ConfigError, GeometryError, OutputError, SimulationError
from tlpot.models import Ensemble, Potential, preset
from tlpot.structures import build_peptide

SIZES = preset("tiny", (1, 6, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)
PAIR = MorsePotential(epsilon=2.0, rho0=5.0, r0=1.1)
HYDROXYL = Atoms("HO", [[0, 0, 0], [0.0, 1.1, 0.0]])


def test_forces_that_are_too_large_are_refused_unless_told():
    atoms = molecule("H2O")
    with pytest.raises(GeometryError, match="stationary"):
        frequencies(atoms, ToyModel())
    told = frequencies(atoms, ToyModel(), allow_forces=True)
    assert not told.stationary
    assert "NO STATIONARY POINT" in str(told)
    assert told.thermochemistry is None
    found = frequencies(atoms, ToyModel(), relax=True)
    assert found.stationary
    assert found.max_force <= 1e-3
    assert found.relaxation.n_steps > 0
    by_hand = frequencies(relax(atoms, ToyModel(), fmax=1e-3).atoms, ToyModel())
    np.testing.assert_allclose(found.wavenumbers, by_hand.wavenumbers, atol=1e-6)


def test_a_result_prints_saves_draws_and_shows_itself(tmp_path):
    found = frequencies("H2", ToyModel(), relax=True)
    assert found.derivatives == AUTOMATIC
    thermal = found.thermochemistry
    assert thermal.symmetry == 2
    for number in (
        f"{found.energy:.6f}", f"{found.wavenumbers[0]:.2f}", f"{found.zero_point_energy:.6f}",
        f"{thermal.free_energy:.6f}", f"{1e3 * thermal.entropy:.5f}", "a minimum",
    ):  # fmt: skip
        assert number in str(found)
        assert number in found._repr_html_()
    assert found.zero_point_energy == pytest.approx(0.5 * units.invcm * found.wavenumbers[0])
    found.save(tmp_path / "f.json")
    stored = json.loads((tmp_path / "f.json").read_text())
    assert stored["wavenumbers_per_cm"] == found.wavenumbers.tolist()
    assert stored["thermochemistry"]["free_energy"] == thermal.free_energy
    assert len(stored["modes"]) == 1
    assert stored["relaxation"]["converged"] is True
    found.plot(tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_an_atom_has_no_vibrations_but_an_entropy(tmp_path):
    found = frequencies(Atoms("C"), ToyModel(), modes=tmp_path / "m.xyz", pressure=1.0)
    assert found.wavenumbers.size == 0
    assert found.zero_point_energy == 0.0
    kelvin = units.kB * 298.15
    assert found.thermochemistry.enthalpy == pytest.approx(found.energy + 2.5 * kelvin)
    found.plot()
    json.dumps(found.as_json())


def test_one_imaginary_mode_is_a_transition_state_and_two_are_not():
    pair = frequencies(HYDROXYL, PAIR)
    assert pair.derivatives == NUMERICAL
    assert pair.n_imaginary == 0
    # three atoms in line, the outer ones too near each other: they bend away, in two planes
    chain = Atoms("HOH", [[0, 0, 0], [0, 0, 1.1], [0, 0, 2.2]])
    bent = relax(chain, PAIR, fmax=1e-5).atoms
    found = frequencies(bent, PAIR)
    assert found.n_imaginary == 2
    assert "SADDLE POINT OF ORDER 2" in str(found)
    assert found.thermochemistry is None
    held = bent.copy()
    held.set_constraint(FixAtoms([0, 2]))
    assert frequencies(held, PAIR).modes.shape == "held"


def test_a_transition_state_is_named():
    class Well(MorsePotential):
        """A saddle in one direction: a pair whose stretch is at the top of a hill."""

        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            vector = atoms.positions[1] - atoms.positions[0]
            length = np.linalg.norm(vector)
            force = 2.0 * (length - 1.1) * vector / length
            self.results = {"energy": -((length - 1.1) ** 2), "forces": np.array([-force, force])}

    found = frequencies(HYDROXYL, Well())
    assert found.n_imaginary == 1
    assert "TRANSITION STATE" in str(found)
    assert f"{-found.wavenumbers[0]:.2f}i" in str(found)
    assert found.zero_point_energy == 0.0
    assert found.thermochemistry is not None
    rotor = 3.5 * units.kB * 298.15
    assert found.thermochemistry.enthalpy == pytest.approx(found.energy + rotor, abs=1e-9)


def test_planar_ammonia_is_the_way_from_one_pyramid_to_the_other():
    angles = np.deg2rad([0, 120, 240])
    ring = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    planar = frequencies(Atoms("NH3", np.vstack([np.zeros(3), ring])), "tlpot-tiny", relax=True)
    assert planar.n_imaginary == 1
    assert planar.thermochemistry.symmetry == 6
    # the umbrella: hydrogens one way, nitrogen the other, across the plane
    umbrella = planar.modes.displacements[0]
    assert np.abs(umbrella[:, :2]).max() < 1e-3 < umbrella[:, 2].max()
    assert (np.sign(umbrella[1:, 2]) == -np.sign(umbrella[0, 2])).all()
    down = planar.atoms.copy()
    down.positions += 0.1 * umbrella
    pyramid = frequencies(down, "tlpot-tiny", relax=True)
    assert pyramid.n_imaginary == 0
    assert pyramid.thermochemistry.symmetry == 3
    assert planar.energy - pyramid.energy == pytest.approx(0.25, abs=0.05)  # measured: 0.25 eV


def test_a_crystal_has_a_helmholtz_energy():
    found = frequencies(bulk("Cu", cubic=True), EMT())
    assert found.modes.shape == "periodic"
    assert found.thermochemistry.kind == "harmonic"
    assert len(found.wavenumbers) == 9
    assert "Γ" in str(found)
    assert "F " in str(found)


def test_conditions_reach_the_thermochemistry():
    atoms = relax("O2", PAIR, fmax=1e-4).atoms
    found = frequencies(atoms, PAIR, temperature=500, pressure=2, symmetry=1, spin=3)
    thermal = found.thermochemistry
    assert (thermal.temperature, thermal.pressure, thermal.symmetry) == (500, 2, 1)
    assert thermal.multiplicity == 3
    assert not found.symmetry_found


def test_atoms_that_do_not_feel_each_other_have_no_entropy():
    found = frequencies(Atoms("H2", [[0, 0, 0], [0, 0, 9.0]]), ToyModel())
    assert found.thermochemistry is None
    assert "restoring" in str(found)


def test_the_precision_is_said_where_it_is_known():
    assert frequencies("H2O", "tlpot-tiny", relax=True).precision == "float64"
    assert frequencies(HYDROXYL, PAIR).precision == ""
    assert "float" not in str(frequencies(HYDROXYL, PAIR))


def test_a_radical_is_a_doublet():
    assert frequencies(HYDROXYL, PAIR).thermochemistry.multiplicity == 2
    closed = Atoms("O2", [[0, 0, 0], [0.0, 1.1, 0.0]])
    assert frequencies(closed, PAIR).thermochemistry.multiplicity == 1


def test_an_ensemble_has_the_mean_of_the_hessians():
    torch.manual_seed(0)
    members = [Potential.create(SIZES, {"x": {1: -1.0, 6: -2.0, 8: -3.0}}, scale=s, seed=k)
               for k, s in ((1, 0.05), (2, 0.1))]  # fmt: skip
    options = {"allow_forces": True}
    found = [frequencies("H2O", one, **options).hessian for one in members]
    mean = frequencies("H2O", Ensemble(members), **options)
    assert mean.derivatives == AUTOMATIC
    assert np.abs(found[0] - found[1]).max() > 1e-3
    np.testing.assert_allclose(mean.hessian, 0.5 * (found[0] + found[1]), atol=1e-9)


def test_a_difference_is_added_by_central_differences():
    shift = {1: 0.25, 6: -0.5, 8: 1.0}
    delta = Potential.create(SIZES, {"high - toy": shift}, scale=0.02, dtype=torch.float64)
    low = TLPotCalculator(ToyModel())
    found = frequencies("H2O", delta, low=low, allow_forces=True)
    assert found.derivatives == NUMERICAL
    assert NUMERICAL in str(found)

    atoms = molecule("H2O")
    alone = low.get_hessian(atoms)
    correction = TLPotCalculator(DeltaCalculator(low, delta).difference).get_hessian(atoms)
    assert np.abs(correction).max() > 1e-2
    np.testing.assert_allclose(found.hessian, alone + correction, atol=5e-3)


def test_fragments_have_automatic_derivatives_where_their_models_do():
    atoms = build_peptide("G")
    options = {"scheme": "mfcc_mbe2", "allow_forces": True}
    exact = frequencies(atoms, ToyModel(), **options)
    assert exact.derivatives == AUTOMATIC
    assert len(exact.wavenumbers) == 3 * len(atoms) - 6
    held = atoms.copy()
    held.set_constraint(FixAtoms(range(2, len(atoms))))
    rows = frequencies(held, TLPotCalculator(ToyModel()), allow_forces=True)
    assert rows.modes.displacements.shape == (6, len(atoms), 3)


def test_files_of_modes_are_written_and_spared(tmp_path):
    start = tmp_path / "h2.xyz"
    relax("H2", ToyModel(), output=start, fmax=1e-4)
    modes, molden = tmp_path / "new" / "m.xyz", tmp_path / "m.molden"
    found = frequencies(start, ToyModel(), modes=modes, molden=molden)
    assert found.files == (modes, molden)
    assert read(modes).info["wavenumber"] == pytest.approx(found.wavenumbers[0])
    assert molden.read_text().startswith("[Molden Format]")
    with pytest.raises(OutputError, match="overwrite"):
        frequencies(start, ToyModel(), modes=modes)
    with pytest.raises(OutputError, match="itself"):
        frequencies(start, ToyModel(), modes=start, overwrite=True)
    with pytest.raises(OutputError, match="two names"):
        frequencies(start, ToyModel(), modes=tmp_path / "a", molden=tmp_path / "a")
    frequencies(start, ToyModel(), modes=modes, overwrite=True)


def test_progress_counts_and_cancels():
    seen = []
    frequencies("H2", ToyModel(), relax=True, progress=lambda *row: seen.append(row))
    assert seen[0][2].startswith("relaxation")
    assert seen[-1] == (6, 6, "Hessian")

    def cancel(done, total, text):
        raise LookupError("enough")

    before = torch.get_num_threads()
    with pytest.raises(LookupError):
        frequencies(HYDROXYL, PAIR, progress=cancel, threads=before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("structure", "options", "error", "word"),
    [
        (Atoms(), {}, GeometryError, "no atoms"),
        (Atoms("H", [[np.inf, 0, 0]]), {}, GeometryError, "atom 0"),
        ("SH2", {}, GeometryError, "know"),
        ("H2O", {"temperature": -3.0}, ConfigError, "temperature"),
        ("H2O", {"symmetry": -1}, ConfigError, "symmetry"),
        ("H2O", {"relax": True, "fmax": -1.0}, ConfigError, "fmax"),
        ("H2O", {"relax": True, "fmax": 1e-9, "steps": 1}, SimulationError, "not converged"),
    ],
)
def test_mistakes_are_said(structure, options, error, word):
    from tlpot.errors import UnknownElementError

    kind = UnknownElementError if structure == "SH2" else error
    with pytest.raises(kind, match=word):
        frequencies(structure, ToyModel(), **options)


def test_all_atoms_fixed_is_refused_before_the_model_is_asked():
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    with pytest.raises(GeometryError, match="fixed"):
        frequencies(atoms, "there-is-no-such-model")
