"""Double hybrids against the sum of PySCF's own parts, by other routes than the engine's."""

import io

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr, Hartree
from needs import needs

from tlpot.engines import EngineSpec, make_engine
from tlpot.engines.mean_field import pair_energies
from tlpot.system import System

pyscf = needs("pyscf")
needs("pyscf.dft", "pyscf.mp")
dftd3 = needs("dftd3.interface")
pytestmark = [
    pytest.mark.external,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]

WATER = Atoms("OHH", [[0.0, 0.0, 0.1], [0.05, 0.8, -0.5], [-0.02, -0.75, -0.45]])

CAPPED_GLYCINE = Atoms(
    "CH3CONHCH2CONHCH3",
    [
        [0.153, -0.155, 0.018], [-0.776, 0.406, 0.044], [0.208, -0.808, 0.885],
        [0.174, -0.766, -0.882], [1.32, 0.809, 0.014], [1.206, 2.017, 0.009],
        [2.525, 0.201, 0.013], [2.631, -0.806, 0.026], [3.768, 0.927, -0.004],
        [3.833, 1.596, 0.863], [3.836, 1.546, -0.908], [4.91, -0.083, 0.026],
        [4.712, -1.281, 0.053], [6.138, 0.468, 0.024], [6.238, 1.468, -0.026],
        [7.331, -0.351, 0.031], [8.208, 0.284, 0.111], [7.299, -1.038, 0.878],
        [7.388, -0.945, -0.883],
    ],
)  # fmt: skip
"""ACE-GLY-NME, extended, relaxed with GFN2-xTB."""


def engine_energy(name, atoms, **settings):
    engine = make_engine(EngineSpec(name=name, settings=settings))
    system = System.from_atoms(atoms)
    return engine.compute(system, forces=False, log=io.StringIO()).energy / Hartree


def pyscf_molecule(atoms, basis):
    return pyscf.gto.M(
        atom=list(zip(atoms.numbers.tolist(), atoms.positions / Bohr, strict=True)),
        unit="Bohr",
        basis=basis,
        spin=atoms.info.get("spin", 1) - 1,
        verbose=0,
    )


def dsd_blyp(atoms, basis):
    """DSD-BLYP-D3BJ by hand: PySCF's native RI-MP2 with its spin factors, on KS orbitals."""
    from pyscf.mp.dfmp2_native import DFRMP2

    field = pyscf.dft.RKS(pyscf_molecule(atoms, basis)).density_fit()
    field.xc = "HF*0.71 + B88*0.29, LYP*0.54"
    field.conv_tol = 1e-10
    field.kernel()
    frozen = int(np.sum(atoms.numbers > 2))
    second = DFRMP2(field, frozen=frozen, auxbasis=field.with_df.auxmol.basis)
    # its factors multiply (ia|jb)² of both spins and the exchange; see the Notes of SCSDFRMP2
    second.ps, second.pt = 0.47, 0.40
    second.kernel()
    damping = dftd3.RationalDampingParam(s6=0.57, s8=0.0, s9=0.0, a1=0.0, a2=5.4)
    model = dftd3.DispersionModel(atoms.numbers, atoms.positions / Bohr)
    dispersion = float(model.get_dispersion(damping, grad=False)["energy"])
    return field.e_tot + second.e_corr + dispersion


def test_dsd_blyp_of_water_agrees_with_the_sum_by_hand():
    by_hand = dsd_blyp(WATER, "def2-svp")
    assert engine_energy("pyscf:dsd-blyp-d3bj/def2-svp", WATER) == pytest.approx(by_hand, abs=1e-7)


def test_dsd_blyp_of_capped_glycine_agrees_with_the_sum_by_hand():
    """In a minimal basis; benchmarks/labelling/double_hybrid.py does it in def2-SVP."""
    by_hand = dsd_blyp(CAPPED_GLYCINE, "sto-3g")
    found = engine_energy("pyscf:dsd-blyp-d3bj/sto-3g", CAPPED_GLYCINE)
    assert found == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize(
    "atoms", [WATER, Atoms("OH", [[0, 0, 0], [0.3, 0.2, 0.9]], info={"spin": 2})], ids=str
)
def test_pair_energies_of_hartree_fock_are_those_of_pyscf(atoms, fitted):
    mol = pyscf_molecule(atoms, "6-31g")
    field = pyscf.scf.RHF(mol) if mol.spin == 0 else pyscf.scf.UHF(mol)
    if fitted:
        field = field.density_fit()
    field.run(conv_tol=1e-11)
    pairs = pair_energies(field, n_frozen=1)
    known = pyscf.mp.MP2(field, frozen=1).run()
    assert pairs.same_spin + pairs.opposite_spin == pytest.approx(known.e_corr, abs=1e-8)
    if not fitted:
        assert pairs.same_spin == pytest.approx(known.e_corr_ss, abs=1e-8)
        assert pairs.opposite_spin == pytest.approx(known.e_corr_os, abs=1e-8)


def test_the_other_double_hybrids_differ_and_stay_near():
    names = ("b2plyp-d3bj", "b2gp-plyp-d3bj", "dsd-pbep86-d3bj", "dsd-pbepbe-d3bj")
    energies = [engine_energy(f"pyscf:{name}/6-31g", WATER) for name in names]
    assert len({round(energy, 4) for energy in energies}) == len(names)
    assert max(energies) - min(energies) < 0.2
    bare = engine_energy("pyscf:b2plyp/6-31g", WATER)
    assert 0 < bare - energies[0] < 1e-3  # dispersion binds


def test_b2plyp_is_its_hybrid_and_scaled_second_order_correlation():
    field = pyscf.dft.RKS(pyscf_molecule(WATER, "cc-pvdz")).density_fit()
    field.xc = "0.53*HF + 0.47*B88, 0.73*LYP"
    field.run(conv_tol=1e-10)
    pairs = pair_energies(field, n_frozen=1)
    expected = field.e_tot + 0.27 * (pairs.same_spin + pairs.opposite_spin)
    assert engine_energy("pyscf:b2plyp/cc-pvdz", WATER) == pytest.approx(expected, abs=1e-7)
