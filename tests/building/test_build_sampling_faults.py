"""Samples that a build has made already."""

import pytest
from ase.build import molecule
from needs import needs

from tlpot.api import build
from tlpot.sampling import collection
from tlpot.structures import build_peptide

needs("tblite")


@pytest.mark.fault
def test_another_protein_is_all_that_is_sampled(tmp_path, monkeypatch):
    """Another protein, or back to a setting of before, had every fragment sampled again."""
    sampled = []
    function = collection.sample_fragment

    def noted(fragment, **settings):
        sampled.append(fragment.name.partition(".")[0])
        return function(fragment, **settings)

    monkeypatch.setattr(collection, "sample_fragment", noted)

    def run(budget, **structures):
        sampled.clear()
        build(
            structures=structures, output=tmp_path / "out", until="sample", scheme="mfcc",
            low={"engine": "gfn1-xtb", "budget": budget}, sample={"methods": ["noise"]},
            high={"engine": "gfn2-xtb", "budget": 1},
        )  # fmt: skip
        return sorted(sampled)

    glycine = build_peptide("G")
    assert run(2, glycine=glycine) == ["ACE-GLY-NME"]
    both = {"glycine": glycine, "water": molecule("H2O")}
    assert run(2, **both) == ["HOH"]
    assert run(3, **both) == ["ACE-GLY-NME", "HOH"]
    assert run(2, **both) == []
    water = molecule("H2O")
    water.rotate(30, "x")
    assert run(2, glycine=glycine, water=water) == ["HOH"]
