"""The engine that a model was fitted on, and the one that is given."""

import pytest

from tlpot.calculators import check_definition
from tlpot.errors import ConfigError

LEARNED = {
    "engine": "torch", "program": "TorchScript 1", "model_sha256": "0123456789ab" + "c" * 52,
    "description": {"outputs": {"energy": "energy"}, "elements": ["H"]},
}  # fmt: skip


def told(learned, given):
    with pytest.raises(ConfigError) as refused:
        check_definition(learned, given, "it was fitted on an engine")
    return str(refused.value)


@pytest.mark.fault
def test_only_what_differs_is_said():
    """Whole sections and hashes of 64 digits were printed, and one difference of several."""
    outputs = {"energy": "energy", "forces": "forces"}
    description = {**LEARNED["description"], "outputs": outputs}
    said = told(LEARNED, {**LEARNED, "model_sha256": "d" * 64, "description": description})
    assert "model_sha256: '0123456789ab…' there, 'dddddddddddd…' now" in said
    assert "description.outputs.forces: absent there, 'forces' now" in said
    assert "elements" not in said


@pytest.mark.fault
def test_what_only_the_engine_given_has_is_noticed():
    """A core potential that an engine has come to use passed as the same engine."""
    learned = {"engine": "pyscf:hf/lanl2dz", "basis": "lanl2dz", "program": "PySCF 2.6"}
    light = {"core_potential": {"name": "lanl2dz", "from": 11}}
    assert "core_potential" in told(learned, {**learned, **light})


def test_versions_and_the_kind_of_forces_may_differ():
    check_definition(LEARNED, {**LEARNED, "program": "TorchScript 2"}, "")
    check_definition(LEARNED, {**LEARNED, "forces": "central differences"}, "")
    check_definition({}, LEARNED, "")
    heavy = {"engine": "pyscf:hf/def2-svp", "basis": "def2-svp"}
    check_definition(heavy, {**heavy, "core_potential": {"name": "def2"}}, "")
