"""The error budget, with toys of which the exact answer is known."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from toys import ToyModel

from tlpot.calculators import FragmentCalculator
from tlpot.errors import ConfigError
from tlpot.fragments import Dimers
from tlpot.jobs import Cut
from tlpot.reports import BudgetReport, measure_budget
from tlpot.reports.error_budget import MODEL, SCHEME, TOTAL, atom_classes, hydrogen_bonds
from tlpot.structures import build_peptide
from tlpot.topology import perceive_topology


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """A model with an error that is known: the energy of every atom is off by `shift`, eV."""

    model: ToyModel
    shift: float
    uses_charge: bool = False

    @property
    def cutoff(self):
        return self.model.cutoff

    @property
    def elements(self):
        return self.model.elements

    def atomic_energies(self, graph):
        return self.model.atomic_energies(graph) + self.shift


def frames(n=3, sequence="AGA"):
    found = [build_peptide(sequence, conformation="helix") for _ in range(n)]
    for k, atoms in enumerate(found):
        atoms.rattle(0.02 * k, seed=k)
    return found


def budget(reference, model=None, scheme="mfcc", n=3, sequence="AGA"):
    made = frames(n, sequence)
    return measure_budget(
        made,
        whole=FragmentCalculator(made[0], reference, "direct"),
        fragments=FragmentCalculator(made[0], reference, scheme),
        model=None if model is None else FragmentCalculator(made[0], model, scheme),
    )


def test_a_local_reference_has_no_error_of_the_scheme():
    found = budget(ToyModel(cutoff=1.6))
    assert list(found.parts) == [SCHEME]
    assert np.abs(found.parts[SCHEME].energy).max() < 1e-10
    assert np.abs(found.parts[SCHEME].forces).max() < 1e-10


def test_a_wrong_model_is_no_error_of_the_scheme():
    found = budget(ToyModel(cutoff=1.6), Shifted(model=ToyModel(cutoff=1.6), shift=0.25))
    assert found.parts[MODEL].energy == pytest.approx(0.25 * found.n_atoms)  # caps cancel
    assert np.abs(found.parts[MODEL].relative).max() < 1e-10
    assert np.abs(found.parts[MODEL].forces).max() < 1e-10
    assert np.abs(found.parts[SCHEME].energy).max() < 1e-10
    single = found.fragments
    assert single.energy == pytest.approx(0.25 * single.sizes)
    assert len(single.names) == 3 * 5


def test_the_parts_add_up_with_their_signs():
    scheme = Dimers(inner=1.8, outer=2.6)
    found = budget(ToyModel(cutoff=4.0), ToyModel(cutoff=3.0), scheme, 2, "AGAAG")
    model, scheme, total = (found.parts[name] for name in (MODEL, SCHEME, TOTAL))
    assert np.abs(scheme.energy).min() > 1e-4
    assert np.abs(model.energy).min() > 1e-4
    assert model.energy + scheme.energy == pytest.approx(total.energy, abs=1e-9)
    assert np.abs(model.forces + scheme.forces - total.forces).max() < 1e-9


def test_fragment_errors_add_up_to_the_part_of_the_model():
    made = frames(1)
    reference, model = ToyModel(cutoff=3.5), ToyModel(cutoff=3.0)
    found = budget(reference, model, n=1)
    cut = Cut.make(
        perceive_topology(made[0]),
        FragmentCalculator(made[0], model, "mfcc").force_field.scheme,
        made[0].positions,
    )
    assert cut.names == found.fragments.names
    assert cut.coefficients @ found.fragments.energy == pytest.approx(found.parts[MODEL].energy[0])


@pytest.mark.fault
def test_each_model_of_a_map_is_measured_with_the_charges_that_it_reads():
    """Beside a model that reads none, the error of one that reads charges was that of neutrals."""
    made = frames(1, "KA")
    reads = ToyModel(uses_charge=True)
    found = measure_budget(
        made,
        whole=FragmentCalculator(made[0], reads, "direct"),
        fragments=FragmentCalculator(made[0], reads, "mfcc"),
        model=FragmentCalculator(made[0], {"ACE-LYS-NME": reads, "*": ToyModel()}, "mfcc"),
    )
    charged = found.fragments.names.index("ACE-LYS-NME")
    assert found.fragments.energy[charged] == 0.0
    assert np.abs(found.fragments.energy).max() == 0.0
    assert np.abs(found.parts[MODEL].forces).max() < 1e-12


def test_the_report_says_the_same_in_words_and_numbers(tmp_path):
    found = budget(ToyModel(cutoff=3.5), ToyModel(cutoff=3.0))
    report = BudgetReport(
        budget=found, structure="aga", scheme="mfcc", model="toy", reference="other toy"
    )
    numbers = json.loads(json.dumps(report.as_json()))
    part = numbers["parts"][TOTAL]
    forces = 1e3 * np.abs(found.parts[TOTAL].forces)
    assert part["forces"]["mae"] == pytest.approx(forces.mean())
    assert part["energy"]["mae_per_atom"] == pytest.approx(
        1e3 * np.abs(found.parts[TOTAL].energy).mean() / 39
    )
    assert numbers["n_residues"] == 3
    heads = [sum(r["mae"] * n for r, n in zip(part["by_residue"], (6, 10, 7, 10, 6), strict=True))]
    assert heads[0] / 39 == pytest.approx(part["forces"]["mae"])
    text = report.text()
    for word in (*found.parts, "relative", "cap-adjacent", "ACE-ALA-NME", "3 frames"):
        assert word in text
    report.plot(tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 20_000


def test_calculators_that_do_not_belong_together_are_refused():
    made = frames(1)
    toy = ToyModel()
    direct, mfcc = (FragmentCalculator(made[0], toy, s) for s in ("direct", "mfcc"))
    with pytest.raises(ConfigError, match="scheme='direct'"):
        measure_budget(made, whole=mfcc, fragments=mfcc)
    with pytest.raises(ConfigError, match="same scheme"):
        measure_budget(made, whole=direct, fragments=mfcc, model=direct)
    with pytest.raises(ConfigError, match="at least one"):
        measure_budget([], whole=direct, fragments=mfcc)


def test_hydrogen_bonds_of_a_helix_join_residues_four_apart():
    atoms = build_peptide("A" * 6, conformation="helix")
    topology = perceive_topology(atoms)
    found = hydrogen_bonds(topology, atoms.positions)
    residue = {a: r for r, one in enumerate(topology.residues) for u in one.units
               for a in topology.units[u].atoms}  # fmt: skip
    apart = {residue[donor] - residue[acceptor] for donor, _, acceptor in found.tolist()}
    assert apart == {4}
    assert len(found) == 4
    assert not len(hydrogen_bonds(topology, build_peptide("A" * 6).positions))


def test_classes_of_atoms():
    atoms = build_peptide("AKA")
    topology = perceive_topology(atoms)
    scheme = FragmentCalculator(atoms, ToyModel(uses_charge=True), "mfcc").force_field.scheme
    classes = atom_classes(Cut.make(topology, scheme, atoms.positions))
    assert (classes["backbone"] ^ classes["side chain"]).all()
    charged = atoms.symbols[np.flatnonzero(classes["charged"])].get_chemical_formula()
    assert charged == "C4H11N"
    assert set(atoms.symbols[np.flatnonzero(classes["cap-adjacent"])]) == {"C", "N"}


def test_coverage_is_the_share_of_atom_pairs():
    atoms = build_peptide("AAAA", conformation="helix")
    topology = perceive_topology(atoms)
    scheme = FragmentCalculator(atoms, ToyModel(), "mfcc").force_field.scheme
    shares = Cut.make(topology, scheme, atoms.positions).coverage
    assert np.allclose(shares, shares.T)
    assert shares[1, 0] == pytest.approx(1.0)  # the cap of the chain rides along
    assert shares[1, 4] == 0.0
    assert 0 < shares[2, 3] < 1
    direct = FragmentCalculator(atoms, ToyModel(), "direct").force_field.scheme
    assert np.allclose(Cut.make(topology, direct, atoms.positions).coverage, 1.0)
