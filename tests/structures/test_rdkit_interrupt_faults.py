"""Ctrl-C after RDKit was at work."""

import os
import signal
import time

import pytest
from ase.build import molecule
from needs import needs

from tlpot.structures import rdkit_molecule, smiles_atoms


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1.0)


@pytest.mark.fault
@pytest.mark.parametrize(
    "use", [lambda: smiles_atoms("CCO"), lambda: rdkit_molecule(molecule("CH3OH"))],
    ids=["conformer", "bond orders"],
)  # fmt: skip
def test_ctrl_c_is_heard_after_rdkit(use):
    """RDKit kept SIGINT, so that the first Ctrl-C of a sampling or a run of MD was lost."""
    needs("rdkit")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        use()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
