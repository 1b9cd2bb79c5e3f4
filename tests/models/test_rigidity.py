"""Last-layer uncertainty: the formula, its derivatives, its life with a potential."""

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from parents import ALL_PARENTS, imported_parent
from test_model_file import rewrite

from tlpot.energy import evaluate
from tlpot.errors import ConfigError, ModelFileError
from tlpot.graph import build_graph
from tlpot.models import (
    Calibration,
    LastLayerRigidity,
    Potential,
    load,
    preset,
    save,
    system_features,
    uncertain,
)
from tlpot.system import System
from tlpot.uncertainty.last_layer import choose_regularisation, factorise

E0 = {"low": {1: -13.6, 8: -2040.1}, "high": {1: -13.5, 8: -2041.7}}


def waters(n, stretch=1.0, seed=0):
    """Rattled molecules, the first O-H bond of each stretched."""
    found = []
    for k in range(n):
        atoms = molecule("H2O")
        atoms.rattle(0.04, seed=seed + k)
        atoms.positions[1] = atoms.positions[0] + stretch * (
            atoms.positions[1] - atoms.positions[0]
        )
        found.append(System.from_atoms(atoms))
    return build_graph(found, 4.5)


@pytest.fixture(scope="module", params=ALL_PARENTS)
def plain(request):
    if request.param != "tlpot":
        made = imported_parent(request.param, "low", E0["low"]).double()
        return made.with_level("high", E0["high"], parent="low")
    sizes = preset("tiny", (1, 8), hidden_irreps="4x0e+4x1o", radial_hidden=(), readout_hidden=5)
    return Potential.create(sizes, E0, scale=0.7, dtype=torch.float64)


@pytest.fixture(scope="module")
def gram(plain):
    rows = system_features(plain.at("high").features, waters(40)).detach()
    return rows.mT @ rows


REGULARISATION = 1e-6


@pytest.fixture(scope="module")
def potential(plain, gram):
    return plain.with_rigidity("high", LastLayerRigidity(factorise(gram, REGULARISATION)))


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_the_energy_is_linear_in_the_features(n_layers):
    sizes = preset("tiny", (1, 8), hidden_irreps="4x0e+4x1o", n_layers=n_layers)
    potential = Potential.create(sizes, E0, scale=0.7, dtype=torch.float64)
    graph, head = waters(2), potential.head("low")
    features = potential.at("low").features(graph)
    assert features.shape == (6, 16 + 4 * (n_layers - 1))
    e0 = head.references.value[potential.species(graph.atomic_numbers)]
    energies = potential.at("low").atomic_energies(graph)
    expected = e0 + features @ head.readout.last_weights()
    torch.testing.assert_close(energies, expected, rtol=0, atol=1e-11)


def test_readouts_of_every_kind_are_linear_in_their_features(plain):
    _, scalars, _ = plain.at("low").invariants(waters(2))
    readout = plain.head("low").readout
    expected = readout.features(scalars) @ readout.last_weights()
    torch.testing.assert_close(readout(scalars), expected, rtol=1e-12, atol=1e-12)


def test_the_formula(potential, gram):
    level, graph = potential.at("high"), waters(3, seed=100)
    f = system_features(level.features, graph).detach()
    dense = torch.linalg.inv(gram + REGULARISATION * torch.eye(len(gram), dtype=gram.dtype))
    expected = torch.stack([row @ dense @ row for row in f]).sqrt()
    found, spread = level.predict(graph)
    # features that hardly vary leave little but rounding of a dense inverse
    exact = potential.architecture.isolated_at_reference
    torch.testing.assert_close(spread.energy_std, expected, rtol=1e-8 if exact else 1e-5, atol=0)
    assert spread.forces_std is None
    assert torch.equal(found.energy, evaluate(level, graph).energy)


def test_forces_std_against_finite_differences_of_the_features(potential, gram):
    level, graph = potential.at("high"), waters(2, seed=7)
    dense = torch.linalg.inv(gram + REGULARISATION * torch.eye(len(gram), dtype=gram.dtype))
    _, spread = level.predict(graph, forces_std=True)
    step = 1e-4
    for atom, axis in ((0, 0), (1, 2), (4, 1)):
        values = []
        for sign in (1, -1):
            moved = waters(2, seed=7)
            moved.positions[atom, axis] += sign * step
            values.append(system_features(level.features, moved).detach())
        slope = ((values[0] - values[1]) / (2 * step)).sum(dim=0)
        expected = float((slope @ dense @ slope).sqrt())
        assert float(spread.forces_std[atom, axis]) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(spread.energy_std, level.predict(graph)[1].energy_std)


def test_uncertainty_grows_away_from_the_training_frames(potential):
    level = potential.at("high")
    std = [
        float(level.predict(waters(10, stretch, seed=200))[1].energy_std.mean())
        for stretch in (1.0, 1.3, 1.6)
    ]
    assert std[2] > std[1] > std[0]
    assert std[2] > 3 * std[0]


def test_a_lone_atom_is_still_and_certain_if_it_has_no_features(potential):
    graph = build_graph([System.from_atoms(Atoms("O"))], 4.5)
    _, spread = potential.at("high").predict(graph, forces_std=True)
    certain = potential.architecture.isolated_at_reference
    assert (float(spread.energy_std) == 0.0) == certain
    assert (spread.forces_std == 0).all()


@pytest.mark.parametrize(
    "calibration",
    [
        None,
        Calibration(torch.linspace(0.2, 3.0, 30)),
        Calibration(torch.linspace(0.2, 3.0, 30), 0.5, torch.linspace(0.1, 9.0, 12)),
    ],
)
def test_round_trip_is_exact(plain, gram, tmp_path, calibration):
    rigidity = LastLayerRigidity(factorise(gram, REGULARISATION), calibration)
    potential = plain.with_rigidity("high", rigidity)
    first = save(potential, tmp_path / "a.safetensors")
    trained = next(plain.parameters()).requires_grad  # of which the last digits depend
    loaded = load(tmp_path / "a.safetensors", device="cpu").requires_grad_(trained)
    (found, spread), (again, other) = (
        p.at("high").predict(waters(2), forces_std=True) for p in (potential, loaded)
    )
    assert torch.equal(found.energy, again.energy)
    assert torch.equal(spread.energy_std, other.energy_std)
    assert torch.equal(spread.forces_std, other.forces_std)
    assert uncertain(loaded.at("low")) is None
    assert save(loaded, tmp_path / "b.safetensors") == first


def test_the_file_of_a_potential_without_uncertainty_is_what_it_was(plain, potential, tmp_path):
    before = save(plain, tmp_path / "a.safetensors")
    assert save(potential.without_uncertainty(), tmp_path / "b.safetensors") == before
    assert save(potential, tmp_path / "c.safetensors") != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: t.update({KEY: torch.eye(3, dtype=torch.float64)}), "the architecture needs"),
        (lambda m, t: t.pop(KEY), "unknown weights"),
        (lambda m, t: t[KEY].fill_(float("nan")), "NaN"),
        (lambda m, t: t["heads.1.rigidity.calibration.scores.value"].fill_(-1), "is damaged"),
    ],
)
def test_damaged_files_are_refused(plain, gram, tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    rigidity = LastLayerRigidity(factorise(gram, REGULARISATION), Calibration(torch.ones(12)))
    save(plain.with_rigidity("high", rigidity), path)
    rewrite(path, change)
    with pytest.raises(ModelFileError, match=message):
        load(path, device="cpu")


KEY = "heads.1.rigidity.cholesky.value"


def test_new_levels_and_other_weights_start_without_uncertainty(potential):
    grown = potential.with_level("higher", E0["high"], parent="high")
    assert uncertain(grown.at("higher")) is None
    assert uncertain(grown.at("high")) is not None
    assert uncertain(potential.with_level("high", E0["low"]).at("high")) is None
    assert uncertain(potential.only("high").at()) is not None
    with pytest.raises(ConfigError, match="no uncertainty at level 'low'"):
        potential.at("low").predict(waters(1))


def test_regularisation_is_the_most_likely_one():
    """Synthetic errors, normal with variances that a known ς² gives."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, -3, 8, dtype=torch.float64)
    train = torch.randn(60, 8, generator=generator, dtype=torch.float64) * scales
    held = torch.randn(4000, 8, generator=generator, dtype=torch.float64) * scales
    gram = train.mT @ train
    true = 1e-3 * float(torch.linalg.eigvalsh(gram)[-1])
    white = torch.linalg.solve_triangular(factorise(gram, true), held.mT, upper=False)
    errors = 5.0 * white.norm(dim=0) * torch.randn(4000, generator=generator, dtype=torch.float64)
    found = choose_regularisation(gram, held, errors)
    assert true / 3 < found < 3 * true
