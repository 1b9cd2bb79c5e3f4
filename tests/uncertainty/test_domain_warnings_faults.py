"""When a model made of several warns of structures that it was not trained on, and how."""

import warnings

import numpy as np
import pytest
import torch
from ase.build import molecule

from tlpot.calculators import DeltaCalculator, FragmentCalculator, TLPotCalculator
from tlpot.data import open_dataset
from tlpot.models import LIBRARY, Architecture, DeltaPotential, Ensemble, Potential, PropertyTarget
from tlpot.structures import build_peptide, read_structure
from tlpot.targets import Quantity
from tlpot.uncertainty import DomainCheck, DomainWarning, fit_domain

pytestmark = pytest.mark.fault
OUTSIDE = 0.01


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(LIBRARY / "tlpot-qm.h5")


def trained(dataset, level, n_frames, seed=0, **targets):
    """A network of random weights that knows frames of molecules without nitrogen."""
    architecture = Architecture(
        elements=(1, 6, 7, 8), cutoff=4.0, n_layers=2, hidden_irreps="8x0e+8x1o", l_max=1,
        radial_hidden=(), n_species=4, readout_hidden=4, avg_neighbors=5.0,
    )  # fmt: skip
    none = dict.fromkeys((1, 6, 7, 8), 0.0)
    potential = Potential.create(
        architecture, {level: none}, dtype=torch.float64, seed=seed, **targets
    )
    names = list(dataset.group_names)
    kept = [names.index(name) for name in ("methanol", "ethanol", "water", "methane")]
    frames = np.flatnonzero(np.isin(dataset.group_idx, kept))
    potential.head(level).domain = fit_domain(
        potential.at(), dataset, frames[:n_frames], frames[n_frames : n_frames + 10]
    ).to(torch.float64)
    return potential


def warned(model, name):
    """The warning of a structure that is far away, or nothing."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        DomainCheck(model).warn(OUTSIDE, molecule(name))
    return "".join(str(warning.message) for warning in found)


@pytest.mark.parametrize("kind", ["potential", "ensemble", "delta"])
def test_few_frames_warn_of_elements_only(dataset, kind):
    def made(n_frames):
        first = trained(dataset, "hf", n_frames)
        if kind == "ensemble":
            return Ensemble([first, trained(dataset, "hf", n_frames, seed=1)]).at()
        if kind == "delta":
            return DeltaPotential(first, trained(dataset, "ccsd(t) - hf", n_frames)).at()
        return first.at()

    few, many = made(30), made(110)
    assert not warned(few, "C2H6")
    assert "no training frame has N" in warned(few, "NH3")
    assert "outside" in warned(many, "C2H6")
    assert "no training frame has N" in warned(many, "NH3")


def test_an_element_that_one_part_has_seen_is_told(dataset):
    low, delta = trained(dataset, "hf", 30), trained(dataset, "ccsd(t) - hf", 30)
    names = list(dataset.group_names)
    frames = np.flatnonzero(dataset.group_idx == names.index("ammonia"))
    low.head("hf").domain = fit_domain(low.at(), dataset, frames[:-5], frames[-5:]).to(
        torch.float64
    )
    assert "of a part of it has N" in warned(DeltaPotential(low, delta).at(), "NH3")


def test_a_property_has_no_energies_and_forces(dataset):
    quantity = Quantity(unit="eV", extensive=False)
    target = PropertyTarget(quantity=quantity, pooling="mean", spread=1.0)
    model = trained(dataset, "gap@hf", 110, targets={"gap@hf": target})
    text = warned(model.at(), "NH3")
    assert "gap@hf may be far off" in text
    assert "forces" not in text


def test_a_difference_says_why(dataset):
    delta = trained(dataset, "ccsd(t) - hf", 30)
    atoms = molecule("NH3")
    atoms.calc = DeltaCalculator(low=TLPotCalculator(trained(dataset, "hf", 30)), delta=delta)
    with pytest.warns(DomainWarning, match="no training frame has N"):
        atoms.get_potential_energy()


def test_the_fragment_that_is_outside_is_named(tmp_path):
    """Of a whole protein a warning said that it is outside, and not where."""
    build_peptide("GAS").write(tmp_path / "p.pdb")
    atoms = read_structure(tmp_path / "p.pdb")
    names = atoms.arrays["atom_name"].tolist()
    oxygen, hydrogen = names.index("OG"), names.index("HG")
    atoms.calc = FragmentCalculator(atoms, "tlpot-peptides-tiny", "mfcc", level="gfn2-xtb")
    atoms.positions[hydrogen] -= 0.35 * (atoms.positions[hydrogen] - atoms.positions[oxygen])
    with pytest.warns(DomainWarning, match=r"the fragment ACE-SER-NME \(SER 4, NME 5\) of C"):
        atoms.get_potential_energy()
