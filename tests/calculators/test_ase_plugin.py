"""ASE finds the calculator by itself, without loading torch."""

import subprocess
import sys

from needs import needs


def test_the_installed_ase_lists_the_calculator():
    needs("ase._4.plugins")
    code = (
        "import sys\n"
        "from ase._4.plugins import plugins\n"
        "(ours,) = [p for p in plugins.calculators if p.name == 'tlpot']\n"
        "assert ours.package == 'tlpot' and 'tlpot' in ours.display()\n"
        "assert 'torch' not in sys.modules and 'e3nn' not in sys.modules\n"
        "from tlpot import TLPotCalculator\n"
        "assert ours.implementation is TLPotCalculator\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_ase_without_plugins_is_as_good():
    code = (
        "import sys\n"
        "sys.modules['ase._4.plugins.plugin'] = None\n"
        "import tlpot._ase_plugin as p\n"
        "assert p.__ase_plugins__ == set()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
