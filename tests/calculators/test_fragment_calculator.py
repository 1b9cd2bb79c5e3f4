"""The fragment calculator: what it gives, what it refuses, and how its parts add up."""

import copy
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from needs import needs
from parents import IMPORTED, imported_parent
from toys import E0, ToyModel

from tlpot.calculators import FragmentCalculator, TLPotCalculator, named_calculator
from tlpot.energy import evaluate
from tlpot.errors import ConfigError, GeometryError, TLPotWarning, UnknownElementError
from tlpot.fragments import MFCC, FragmentForceField, choose_scheme
from tlpot.fragments.layer import COULOMB
from tlpot.graph import build_graph
from tlpot.models import CalculatorModel, Ensemble, ModelCard, Potential, load, preset
from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.topology import perceive_topology

MODEL = ToyModel(elements=(1, 6, 7, 8), cutoff=3.5)


@pytest.fixture
def peptide() -> Atoms:
    atoms = build_peptide("AGA", conformation="helix")
    atoms.rattle(0.02, seed=3)
    return atoms


def energy(atoms: Atoms, *args, **settings) -> float:
    copy = atoms.copy()
    copy.calc = FragmentCalculator(atoms, *args, **settings)
    return copy.get_potential_energy()


def test_direct_is_the_model_itself(peptide):
    peptide.calc = TLPotCalculator(MODEL)
    expected = peptide.get_potential_energy(), peptide.get_forces()
    peptide.calc = FragmentCalculator(peptide, MODEL, "direct")
    assert peptide.get_potential_energy() == expected[0]
    np.testing.assert_array_equal(peptide.get_forces(), expected[1])


def test_a_level_of_a_model_is_kept():
    atoms = build_peptide("G")
    model = load("tlpot-fragments", device="cpu")
    view = energy(atoms, model.at("gfn2-xtb"), "mfcc")
    assert view == energy(atoms, model, "mfcc", level="gfn2-xtb")
    other = next(level for level in model.levels if level != "gfn2-xtb")
    assert view != energy(atoms, model, "mfcc", level=other)
    both = energy(atoms, {"*": model.at("gfn2-xtb")}, "mfcc", low=model.at(other))
    assert both == energy(atoms, model, "mfcc", level="gfn2-xtb", low=model, low_level=other)


def test_energies_of_atoms_sum_to_the_energy_and_caps_count_with_their_hosts(peptide):
    peptide.calc = FragmentCalculator(peptide, MODEL, "mfcc")
    energies = peptide.calc.get_property("energies", peptide)
    assert energies.shape == (len(peptide),)
    assert energies.sum() == pytest.approx(peptide.get_potential_energy(), abs=1e-9)


@pytest.mark.parametrize("scheme", ["mfcc", "mfcc2", "mfcc_mbe2", "gmfcc", "sphere"])
def test_two_layers_of_one_model_are_that_model(peptide, scheme):
    """What fragments leave out comes from the low level, so nothing is missing or doubled."""
    direct = energy(peptide, MODEL)
    assert energy(peptide, MODEL, scheme, low=MODEL) == pytest.approx(direct, rel=0, abs=1e-9)


@pytest.mark.train
@pytest.mark.parametrize("scheme", ["mfcc", "gmfcc"])
@pytest.mark.parametrize("kind", IMPORTED)
def test_an_imported_model_is_either_layer(peptide, kind, scheme):
    """Atoms by themselves need not be at E0: what caps have goes off again."""
    model = imported_parent(kind, "any", {z: E0[z] for z in (1, 6, 7, 8)}).double().at()
    direct = energy(peptide, model)
    assert energy(peptide, model, scheme, low=model) == pytest.approx(direct, rel=0, abs=1e-7)
    both = energy(peptide, MODEL, scheme, low=model) - energy(peptide, MODEL, scheme)
    alone = energy(peptide, model) - energy(peptide, model, scheme)
    assert both == pytest.approx(alone, rel=0, abs=1e-7)
    peptide.calc = FragmentCalculator(peptide, model, scheme)
    assert abs(peptide.get_forces().sum(axis=0)).max() < 1e-9


@pytest.mark.parametrize("scheme", ["mfcc", "mfcc2", "mfcc_mbe2", "gmfcc"])
def test_coulomb_terms_are_those_of_pairs_that_no_fragment_has(peptide, scheme):
    charges = np.random.default_rng(1).normal(size=len(peptide))
    calculator = FragmentCalculator(peptide, MODEL, scheme, charges=charges)
    partition = calculator.force_field.partition(
        peptide.numbers.astype(np.int64), peptide.positions
    )
    weights = 1.0 - np.eye(len(peptide))
    coefficients = partition.expansion.coefficients()
    for units, c in zip(partition.expansion.sets, coefficients, strict=True):
        inside = calculator.force_field.prepared(
            peptide.numbers.astype(np.int64), peptide.positions
        ).cutter.cut(units).real  # fmt: skip
        weights[np.ix_(inside, inside)] -= c
    np.fill_diagonal(weights, 0.0)
    distances = peptide.get_all_distances() + np.eye(len(peptide))
    expected = 0.5 * COULOMB * (weights * np.outer(charges, charges) / distances).sum()
    peptide.calc = calculator
    found = peptide.get_potential_energy() - energy(peptide, MODEL, scheme)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_dipeptides_with_amber_terms(peptide):
    needs("openmm")
    assert np.isfinite(energy(peptide, MODEL, "ai2bmd"))
    assert energy(peptide, MODEL, "ai2bmd") != energy(peptide, MODEL, "mfcc")
    calculator = FragmentCalculator(peptide, MODEL, "mfcc", charges="amber")
    charges = calculator.force_field.layers[0].charges.numpy()
    assert charges.sum() == pytest.approx(0.0, abs=1e-4)
    with pytest.raises(ConfigError, match="leave charges out"):
        FragmentCalculator(peptide, MODEL, "ai2bmd", charges=charges)


def test_a_bare_scheme_cannot_carry_amber_terms():
    with pytest.raises(ConfigError, match=r"AI2BMD is scheme mfcc .*FragmentCalculator"):
        choose_scheme("AI2BMD")
    with pytest.raises(ConfigError, match="belong to one structure"):
        FragmentForceField(MODEL, "ai2bmd")


def test_dispersion_is_that_of_the_whole(peptide):
    needs("dftd3")
    from dftd3.ase import DFTD3

    whole = peptide.copy()
    whole.calc = DFTD3(method="pbe", damping="d3bj")
    added = energy(peptide, MODEL, "mfcc", dispersion="d3bj:pbe") - energy(peptide, MODEL, "mfcc")
    assert added == pytest.approx(whole.get_potential_energy(), abs=1e-9)


def test_any_ase_calculator_or_a_function_that_makes_one_evaluates_fragments(peptide):
    expected = energy(peptide, EMT(), "mfcc")
    made = []

    def factory(atoms: Atoms) -> EMT:
        made.append(atoms.info["charge"])
        return EMT()

    assert energy(peptide, factory, "mfcc") == expected
    assert made == [0] * len(made)
    assert made


def test_models_by_fragment_name(peptide):
    kinds = {"ACE-ALA-NME": MODEL, "ACE-GLY-NME": MODEL, "ACE-NME": MODEL}
    assert energy(peptide, kinds, "mfcc") == pytest.approx(energy(peptide, MODEL, "mfcc"), abs=1e-9)
    other = ToyModel(elements=(1, 6, 7, 8), cutoff=2.5)
    rest = {"ACE-GLY-NME": other, "*": MODEL}
    assert abs(energy(peptide, rest, "mfcc") - energy(peptide, MODEL, "mfcc")) > 1e-3
    with pytest.raises(ConfigError, match=r"no model for the fragment ACE-NME.*ACE-ALA-NME"):
        energy(peptide, {"ACE-ALA-NME": MODEL, "ACE-GLY-NME": MODEL}, "mfcc")
    with pytest.raises(ConfigError, match="need a fragment scheme"):
        energy(peptide, kinds, "direct")


@pytest.mark.fault
def test_a_name_that_no_fragment_has_is_refused(peptide):
    with pytest.raises(
        ConfigError, match=r"no fragment is a ACE-ALA-NMEE.*did you mean 'ACE-ALA-NME'"
    ):
        energy(peptide, {"ACE-ALA-NMEE": MODEL, "*": MODEL}, "mfcc")
    with pytest.raises(ConfigError, match="no fragment is a ACE-ALA-NMEE"):
        energy(peptide, {"ACE-ALA-NMEE": MODEL, "*": MODEL}, "mfcc_mbe2")
    with pytest.raises(ConfigError, match="no fragment is a ACE-ALA-GLY-NME"):
        energy(peptide, {"ACE-ALA-GLY-NME": MODEL, "*": MODEL}, "mfcc")
    with pytest.warns(TLPotWarning, match="no fragment is a ACE-NME-ALA as the structure is now"):
        energy(peptide, {"ACE-NME-ALA": MODEL, "*": MODEL}, "mfcc_mbe2")


@pytest.mark.fault
def test_models_of_different_levels_are_refused(peptide):
    sizes = preset("tiny", (1, 6, 7, 8), hidden_irreps="2x0e+2x1o", cutoff=3.0)
    potential = Potential.create(sizes, {"low": E0, "high": E0}, scale=0.01)
    low, high = potential.at("low"), potential.at("high")
    with pytest.raises(ConfigError, match=r"\(low for ACE-ALA-NME; high for \*\)"):
        energy(peptide, {"ACE-ALA-NME": low, "*": high}, "mfcc")
    again = Potential.create(sizes, {"low": E0}, scale=0.01, seed=1).at("low")
    assert np.isfinite(energy(peptide, {"ACE-ALA-NME": low, "*": again}, "mfcc"))
    named = {k: named_calculator("ase:label_toys:Spring", label=k) for k in "ab"}
    engine = {"ACE-ALA-NME": named["a"], "*": named["b"]}
    with pytest.raises(ConfigError, match=r"\(a for ACE-ALA-NME; b for \*\)"):
        energy(peptide, engine, "mfcc")


@pytest.mark.fault
def test_a_level_is_that_of_models_that_have_several_and_of_engines(peptide):
    """A file of several levels beside an engine could be used neither with a level nor without."""
    sizes = preset("tiny", (1, 6, 7, 8), hidden_irreps="2x0e+2x1o", cutoff=3.0)
    potential = Potential.create(sizes, {"low": E0, "high": E0}, scale=0.01)
    engine = named_calculator("ase:label_toys:Spring", label="low")
    mixed = {"ACE-ALA-NME": potential, "*": engine}
    expected = energy(peptide, {**mixed, "ACE-ALA-NME": potential.at("low")}, "mfcc")
    assert energy(peptide, mixed, "mfcc", level="Low") == expected
    wrapped = {**mixed, "*": CalculatorModel(engine)}  # as a map in a file is opened
    assert energy(peptide, wrapped, "mfcc", level="low") == expected
    for each in (mixed, wrapped):
        with pytest.raises(
            ConfigError, match=r"for \* is of the level 'low'.*level is 'high'"
        ) as no:
            energy(peptide, each, "mfcc", level="high")
        assert "CalculatorModel" not in str(no.value)
    with pytest.raises(ConfigError, match=r"for \* has no levels.*'FILE@LEVEL'"):
        energy(peptide, {**mixed, "*": MODEL}, "mfcc", level="low")
    with pytest.raises(ConfigError, match="the model has no levels of theory"):
        energy(peptide, MODEL, "mfcc", level="low")


@pytest.mark.fault
def test_a_model_of_a_map_that_is_opened_at_another_level_is_not_moved_to_it(peptide):
    """`--level` opened FILE@LEVEL of a map at its own level, and nobody was told."""
    sizes = preset("tiny", (1, 6, 7, 8), hidden_irreps="2x0e+2x1o", cutoff=3.0)
    potential = Potential.create(sizes, {"low": E0, "high": E0}, scale=0.01)
    opened = {"ACE-ALA-NME": potential.at("low"), "*": potential}
    assert energy(peptide, opened, "mfcc", level="LOW")
    with pytest.raises(ConfigError, match="ACE-ALA-NME is of the level 'low', and level is 'high'"):
        energy(peptide, opened, "mfcc", level="high")


def test_charged_fragments_need_a_model_that_reads_charges_or_your_word():
    atoms = build_peptide("AKA")
    with pytest.raises(ConfigError, match=r"charges \[1\].*trained_charges=True"):
        energy(atoms, MODEL, "mfcc")
    shipped = {"level": "gfn2-xtb"}  # says in its card that it was trained so
    implied = energy(atoms, "tlpot-fragments", "mfcc", **shipped)
    assert implied == energy(atoms, "tlpot-fragments", "mfcc", trained_charges=True, **shipped)
    assert np.isfinite(energy(atoms, MODEL, "mfcc", low="tlpot-fragments", low_level="gfn2-xtb",
                              trained_charges=True))  # fmt: skip
    sizes = preset("tiny", (1, 6, 7, 8), hidden_irreps="2x0e+2x1o", cutoff=3.0)
    potential = Potential.create(sizes, {"low": E0}, scale=0.01)
    potential.card = ModelCard(name="deaf")
    with pytest.raises(ConfigError, match=r"'deaf' at low does not read"):
        energy(atoms, potential, "mfcc")
    knows = copy.deepcopy(potential)
    knows.card = ModelCard(charges="ignored")
    assert np.isfinite(energy(atoms, {"ACE-LYS-NME": knows, "*": knows}, "mfcc"))
    reads = ToyModel(elements=(1, 6, 7, 8), uses_charge=True)
    kinds = {"ACE-LYS-NME": potential, "*": reads}
    with pytest.raises(ConfigError, match=r"\(for ACE-LYS-NME\)"):
        energy(atoms, kinds, "mfcc")
    assert np.isfinite(energy(atoms, MODEL, "mfcc", trained_charges=True))
    reads = ToyModel(elements=(1, 6, 7, 8), uses_charge=True)
    assert energy(atoms, reads, "mfcc") != energy(atoms, MODEL, "mfcc", trained_charges=True)


@pytest.mark.fault
def test_each_model_of_a_map_is_told_what_it_reads():
    """A model that reads charges was told 0 for charged fragments if another read none."""
    atoms = build_peptide("KAK")
    reads = ToyModel(elements=(1, 6, 7, 8), uses_charge=True)
    deaf = ToyModel(elements=(1, 6, 7, 8), cutoff=3.0)
    kinds = {"ACE-LYS-NME": reads, "*": deaf}  # there are fragments of charge 1 and 0
    calculator = FragmentCalculator(atoms, kinds, "mfcc")
    partition = calculator.force_field.partition(atoms.numbers, atoms.positions)
    expected = 0.0
    for coefficient, fragment in zip(
        partition.expansion.base, partition.batch.assembly.fragments, strict=True
    ):
        own = reads if fragment.charge else deaf
        system = System.from_atoms(fragment.atoms(atoms.positions))
        found = evaluate(own, build_graph([system], own.cutoff), forces=False)
        expected += coefficient * float(found.energy)
    assert energy(atoms, kinds, "mfcc") == pytest.approx(expected, abs=1e-9)
    others = {"ACE-LYS-NME": deaf, "*": reads}
    with pytest.raises(ConfigError, match=r"charges \[1\].*\(for ACE-LYS-NME\)"):
        energy(atoms, others, "mfcc")
    # whose word was given for the one that reads none; the other still hears of charges
    assert energy(atoms, kinds, "mfcc", trained_charges=True) == pytest.approx(expected, abs=1e-9)


def test_of_an_ensemble_there_is_the_mean_and_no_standard_deviation(peptide):
    sizes = preset("tiny", (1, 6, 7, 8), hidden_irreps="2x0e+2x1o", cutoff=3.0)
    members = [Potential.create(sizes, {"low": E0}, scale=0.05, seed=k) for k in (0, 1)]
    peptide.calc = FragmentCalculator(peptide, Ensemble(members), "mfcc")
    mean = np.mean([energy(peptide, member, "mfcc") for member in members])
    assert peptide.get_potential_energy() == pytest.approx(mean, abs=1e-4)
    assert not {"energy_std", "forces_std"} & set(peptide.calc.results)
    assert not {"energy_std", "forces_std"} & set(peptide.calc.implemented_properties)


def test_a_charge_that_does_not_fit_the_hydrogens_is_refused():
    atoms = build_peptide("AKA")
    calculator = FragmentCalculator(atoms, MODEL, "mfcc", trained_charges=True)
    wrong = atoms.copy()
    wrong.info["charge"] = -3
    wrong.calc = calculator
    with pytest.raises(GeometryError, match=r"given as -3, but .* make it 1"):
        wrong.get_potential_energy()


def test_other_atoms_and_broken_bonds_are_refused(peptide):
    calculator = FragmentCalculator(peptide, MODEL, "mfcc")
    other = build_peptide("AG")
    other.calc = calculator
    with pytest.raises(GeometryError, match="fragments were made from"):
        other.get_potential_energy()
    torn = peptide.copy()
    torn.positions[3] += 4.0
    torn.calc = calculator
    with pytest.raises(GeometryError, match=r"broken: C0–H3 \(\d"):
        torn.get_potential_energy()


def test_hydrogens_that_are_missing_are_named():
    atoms = build_peptide("AGA")
    del atoms[7]
    with pytest.raises(GeometryError, match="do not close"):
        FragmentCalculator(atoms, MODEL, "mfcc")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheme": "mfc"}, "did you mean 'mfcc'"),
        ({"scheme": "ai2bmdd"}, "did you mean 'ai2bmd'.*ai2bmd, direct, gmfcc"),
        ({"scheme": "mfcc0"}, "expected 1 or more"),
        ({"low": MODEL, "scheme": "direct"}, "has nothing to add"),
        ({"low_level": "gfn2-xtb", "scheme": "mfcc"}, "low, which is not given"),
        ({"charges": "mulliken", "scheme": "mfcc"}, "expected 'amber' or one value"),
        ({"charges": [0.1, 0.2], "scheme": "mfcc"}, "2 charges were given"),
        ({"charges": [np.nan], "scheme": "mfcc"}, "NaN"),
        ({"level": "gfn2-xtb", "scheme": "mfcc"}, "no levels of theory"),
        ({"dispersion": "d3", "scheme": "mfcc"}, "d3bj:FUNCTIONAL"),
    ],
)
def test_arguments_that_make_no_sense(peptide, settings, message):
    with pytest.raises(ConfigError, match=message):
        energy(peptide, MODEL, **settings)


def test_unknown_elements_are_refused(peptide):
    with pytest.raises(UnknownElementError, match="does not know"):
        energy(peptide, ToyModel(elements=(1, 6, 8)), "mfcc")


def test_results_are_kept_while_the_structure_stays(peptide):
    counted = {"n": 0}

    class Counting(ToyModel):
        def atomic_energies(self, graph):
            counted["n"] += 1
            return super().atomic_energies(graph)

    peptide.calc = FragmentCalculator(peptide, Counting(elements=(1, 6, 7, 8)), "mfcc")
    peptide.get_potential_energy()
    peptide.get_forces()
    assert counted["n"] == 1
    peptide.positions[0, 0] += 0.01
    peptide.get_forces()
    assert counted["n"] == 2


def test_a_calculator_can_be_pickled(peptide):
    calculator = FragmentCalculator(peptide, "tlpot-tiny", "mfcc", low=MODEL)
    peptide.calc = calculator
    forces = peptide.get_forces()
    again = pickle.loads(pickle.dumps(calculator))
    copy = peptide.copy()
    copy.calc = again
    np.testing.assert_allclose(copy.get_forces(), forces, atol=1e-6)


def test_a_topology_that_is_known_is_used(peptide):
    topology = perceive_topology(peptide)
    found = FragmentCalculator(peptide, MODEL, MFCC(size=2), topology=topology)
    assert found.topology is topology
    assert found.parameters["scheme"] == "mfcc"
