"""Rough geometries from a line of text: no force field, but right bonds, angles and planes."""

import re
from functools import cache
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from scipy.optimize import minimize

from tlpot.system import System
from tlpot.topology import Lattice
from tlpot.topology.lattice import follow_bonds

TOKEN = re.compile(r"([A-Z][a-z]?)(H\d?)?|([=#()])|%(\d)|(\.)")

SIDES = {  # independent of the package's table: Kekulé bonds, from the atom on CA
    "ALA": "CH3",
    "VAL": "CH(CH3)CH3",
    "LEU": "CH2CH(CH3)CH3",
    "ILE": "CH(CH3)CH2CH3",
    "PHE": "CH2C%1=CHCH=CHCH=CH%1",
    "TYR": "CH2C%1=CHCH=C(OH)CH=CH%1",
    "TYM": "CH2C%1=CHCH=C(O)CH=CH%1",
    "TRP": "CH2C%1=CHNHC%2=C%1CH=CHCH=CH%2",
    "SER": "CH2OH",
    "THR": "CH(OH)CH3",
    "CYS": "CH2SH",
    "CYM": "CH2S",
    "MET": "CH2CH2SCH3",
    "ASP": "CH2C(=O)O",
    "ASH": "CH2C(=O)OH",
    "GLU": "CH2CH2C(=O)O",
    "GLH": "CH2CH2C(=O)OH",
    "ASN": "CH2C(=O)NH2",
    "GLN": "CH2CH2C(=O)NH2",
    "LYS": "CH2CH2CH2CH2NH3",
    "LYN": "CH2CH2CH2CH2NH2",
    "ARG": "CH2CH2CH2NHC(=NH2)NH2",
    "ARN": "CH2CH2CH2NHC(=NH)NH2",
    "ARE": "CH2CH2CH2N=C(NH2)NH2",
    "HID": "CH2C%1NHCH=NCH=%1",
    "HIE": "CH2C%1N=CHNHCH=%1",
    "HIP": "CH2C%1NHCH=NHCH=%1",
}
CHARGES = {"TYM": -1, "CYM": -1, "ASP": -1, "GLU": -1, "LYS": 1, "ARG": 1, "HIP": 1}


def residue(name):
    """The line of a residue inside a chain."""
    if name == "GLY":
        return "NHCH2C(=O)"
    if name == "PRO":
        return "N%9CH(CH2CH2CH2%9)C(=O)"
    return f"NHCH({SIDES[name]})C(=O)"


def capped(*names):
    return "CH3C(=O)" + "".join(residue(name) for name in names) + "NHCH3"


@cache
def _sketch(line):
    elements, bonds, planar = _parse(line)
    n = len(elements)
    near = [[] for _ in range(n)]
    for a, b, _ in bonds:
        near[a].append(b)
        near[b].append(a)
    target = {(min(a, b), max(a, b)): d for a, b, d in bonds}
    weight = dict.fromkeys(target, 20.0)
    for center in range(n):
        angle = {2: np.pi}.get(planar[center], 2.094 if planar[center] else 1.911)
        if len(near[center]) == 2 and not planar[center]:
            angle = 1.86
        for a, b in combinations(near[center], 2):
            key = (min(a, b), max(a, b))
            if key not in target:
                da, db = (target[min(center, k), max(center, k)] for k in (a, b))
                target[key] = np.sqrt(da**2 + db**2 - 2 * da * db * np.cos(angle))
                weight[key] = 5.0
    i, j = np.triu_indices(n, 1)
    fixed = np.zeros((n, n), bool)
    goal, stiff = np.zeros((n, n)), np.zeros((n, n))
    for (a, b), d in target.items():
        fixed[a, b], goal[a, b], stiff[a, b] = True, d, weight[a, b]
    light = np.array([z == 1 for z in elements])
    room = np.where(light[i] & light[j], 2.0, np.where(light[i] | light[j], 2.4, 2.9))
    room = np.where(fixed[i, j], goal[i, j], room)
    force = np.where(fixed[i, j], stiff[i, j], 2.0)
    soft = ~fixed[i, j]

    def energy(x):
        x = x.reshape(n, 3)
        r = x[j] - x[i]
        d = np.linalg.norm(r, axis=1) + 1e-9
        gap = d - room
        gap[soft & (gap > 0)] = 0.0
        pull = (2 * force * gap / d)[:, None] * r
        gradient = np.zeros((n, 3))
        np.add.at(gradient, j, pull)
        np.add.at(gradient, i, -pull)
        return float((force * gap**2).sum()), gradient.ravel()

    for seed in range(40):
        rng = np.random.default_rng(seed)
        start = _grow(n, near, rng)
        found = minimize(
            energy, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000}
        )
        x = found.x.reshape(n, 3)
        worst = max(abs(np.linalg.norm(x[a] - x[b]) - d) for a, b, d in bonds)
        if worst < 0.1 and found.fun < 0.1 * n:
            return elements, x
    raise AssertionError(f"no geometry for {line}: {found.fun}, {worst}")


def sketch(line):
    """Atoms of a line such as ``CH3C(=O)NHCH3``; parts after a dot lie apart."""
    atoms = Atoms()
    for part in line.split("."):
        elements, x = _sketch(part)
        x = x - x.mean(axis=0)
        if len(atoms):
            x[:, 0] += atoms.positions[:, 0].max() - x[:, 0].min() + 4.0
        atoms += Atoms(elements, x)
    return atoms


def _grow(n, near, rng):
    x = np.full((n, 3), np.nan)
    x[0], queue = 0.0, [0]
    for atom in queue:
        for other in near[atom]:
            if np.isnan(x[other, 0]):
                way = rng.normal(size=(20, 3))
                way = x[atom] + 1.4 * way / np.linalg.norm(way, axis=1, keepdims=True)
                placed = x[~np.isnan(x[:, 0])]
                gaps = np.linalg.norm(way[:, None] - placed[None], axis=2).min(axis=1)
                x[other] = way[gaps.argmax()]
                queue.append(other)
    return x


def _parse(line):
    elements, bonds, orders, stack, rings = [], [], [], [], {}
    current, order = -1, 1
    unsaturated = {}

    def bond(a, b, order):
        bonds.append((a, b))
        orders.append(order)
        for k in (a, b):
            unsaturated[k] = unsaturated.get(k, 0) + order - 1

    for element, hydrogens, sign, ring, _ in TOKEN.findall(line):
        if element:
            elements.append(atomic_numbers[element])
            new = len(elements) - 1
            if current >= 0:
                bond(current, new, order)
            current, order = new, 1
            for _ in range(int(hydrogens[1:] or 1) if hydrogens else 0):
                elements.append(1)
                bond(new, len(elements) - 1, 1)
        elif ring:
            if ring in rings:
                bond(rings.pop(ring), current, order)
                order = 1
            else:
                rings[ring] = current
        elif sign == "(":
            stack.append(current)
        elif sign == ")":
            current = stack.pop()
        else:
            order = "=#".index(sign) + 2
    shrink = {1: 1.0, 2: 0.89, 3: 0.8}
    lengths = [
        (a, b, shrink[order] * (covalent_radii[elements[a]] + covalent_radii[elements[b]]))
        for (a, b), order in zip(bonds, orders, strict=True)
    ]
    return (
        tuple(elements),
        lengths,
        [min(unsaturated.get(k, 0), 2) if z in (6, 7) else 0 for k, z in enumerate(elements)],
    )


def unwrapped(atoms, bonds):
    """Positions with every bond as long as it looks."""
    system = System.from_atoms(atoms)
    lattice = Lattice.of(system)
    vectors = system.positions[bonds[:, 1]] - system.positions[bonds[:, 0]]
    return follow_bonds(system, bonds, vectors + lattice.nearest(vectors) @ lattice.vectors)
