"""Residue names from the graph of the side chain, hydrogens counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ase.data import atomic_numbers

from tlpot.numbers import Ints
from tlpot.topology.backbone import Part, PeptideBackbone, ResidueBuilder, ValenceGraph, is_methyl
from tlpot.topology.bonds import formula, symbol

SIDE_CHAINS = {
    "ALA": "CH3",
    "VAL": "CH(CH3)CH3",
    "LEU": "CH2CH(CH3)CH3",
    "ILE": "CH(CH3)CH2CH3",
    "NVA": "CH2CH2CH3",
    "NLE": "CH2CH2CH2CH3",
    "PRO": "CH2CH2CH2!",
    "HYP": "CH2CH(OH)CH2!",
    "PCA": "CH2CH2C(O)!",
    "PHE": "CH2C%1CHCHCHCHCH%1",
    "TYR": "CH2C%1CHCHC(OH)CHCH%1",
    "TYM": "CH2C%1CHCHC(O)CHCH%1",
    "TRP": "CH2C%1CHNHC%2C%1CHCHCHCH%2",
    "SER": "CH2OH",
    "SEP": "CH2OP(O)(O)O",
    "THR": "CH(OH)CH3",
    "CYS": "CH2SH",
    "CYM": "CH2S",
    "CYX": "CH2S~",
    "SEC": "CH2SeH",
    "MET": "CH2CH2SCH3",
    "MSE": "CH2CH2SeCH3",
    "ASP": "CH2C(O)O",
    "ASH": "CH2C(O)OH",
    "GLU": "CH2CH2C(O)O",
    "GLH": "CH2CH2C(O)OH",
    "ASN": "CH2C(O)NH2",
    "GLN": "CH2CH2C(O)NH2",
    "LYS": "CH2CH2CH2CH2NH3",
    "LYN": "CH2CH2CH2CH2NH2",
    "ORN": "CH2CH2CH2NH3",
    "ARG": "CH2CH2CH2NHC(NH2)NH2",
    "ARN": "CH2CH2CH2NHC(NH)NH2",
    "ARE": "CH2CH2CH2NC(NH2)NH2",
    "HID": "CH2C%1NHCHNCH%1",
    "HIE": "CH2C%1NCHNHCH%1",
    "HIP": "CH2C%1NHCHNHCH%1",
    "HIM": "CH2C%1NCHNCH%1",
}
"""Heavy atoms with their hydrogens, from the one on CA; branches in brackets, rings by %1,
``!`` bound to the amino nitrogen, ``~`` bound to another residue. ARN and ARE are the neutral
arginines (=NH at the end, =N- inside), TYM and HIM the anions of tyrosine and histidine."""

MOLECULES = {
    "HOH": "OH2",
    "H3O": "OH3",
    "OH": "OH",
    "NH4": "NH4",
    "NH3": "NH3",
    "ACT": "CH3C(O)O",
    "ACY": "CH3C(O)OH",
    "FMT": "CH(O)O",
    "EOH": "CH3CH2OH",
    "MOH": "CH3OH",
    "GOL": "CH2(OH)CH(OH)CH2OH",
    "DMS": "CH3S(O)CH3",
    "NMA": "CH3C(O)NHCH3",
    "SO4": "S(O)(O)(O)O",
    "PO4": "P(O)(O)(O)O",
    "NO3": "N(O)(O)O",
    "CO2": "C(O)O",
}

CAPS = {"ACE": "CH3C(O)", "FOR": "CH(O)", "NME": "NHCH3", "NH2": "NH2"}

_IN_FILES = {"HIS": "HID", "HSD": "HID", "HSE": "HIE", "HSP": "HIP", "CYS2": "CYX"}
"""What files call residues of the table besides."""

Node = tuple[int, int, str]
"""Atomic number, hydrogens, and marks: ``^`` on CA, ``!`` on the amino N, ``~`` elsewhere."""

LARGEST = 16
"""Heavy atoms; nothing in the tables has more."""

_TOKEN = re.compile(r"(?P<atom>[A-Z][a-z]?)(?P<h>H\d?)?|%(?P<ring>\d)|(?P<other>[()!~])")


def side_chain_name(nodes: tuple[Node, ...], edges: tuple[tuple[int, int], ...]) -> str | None:
    """Returns the name of the residue with this side chain, None if it has none."""
    return _side_chain_table().get(_canonical(nodes, edges)) if len(nodes) <= LARGEST else None


@dataclass(frozen=True, kw_only=True)
class FewestAtoms:
    """The atoms that a residue of a name has at least, whatever its protonation and its bonds.

    Attributes:
        heavy: how many of each element, by atomic number.
        on_carbon: hydrogens on carbon atoms.
        on_backbone: hydrogens on the backbone's nitrogen.
        elsewhere: other hydrogens.
    """

    heavy: Mapping[int, int]
    on_carbon: int = 0
    on_backbone: int = 0
    elsewhere: int = 0


@lru_cache(maxsize=256)
def fewest_atoms(name: str) -> FewestAtoms | None:
    """Returns what an amino acid of a chain, a cap or a water (HOH) has; None of other names."""
    name = _IN_FILES.get(name, name)
    if name in CAPS or name == "HOH":
        nodes, _ = _parse(CAPS.get(name) or MOLECULES[name], "")
        on = {number: sum(h for z, h, _ in nodes if z == number) for number in (6, 7, 8)}
        return FewestAtoms(
            heavy=Counter(z for z, _, _ in nodes),
            on_carbon=on[6], on_backbone=on[7], elsewhere=on[8],
        )  # fmt: skip
    if name == "GLY":
        return FewestAtoms(heavy={6: 2, 7: 1, 8: 1}, on_carbon=2, on_backbone=1)
    if name not in SIDE_CHAINS:
        return None
    nodes, _ = _parse(SIDE_CHAINS[name], "")
    # of all that differ in hydrogens alone: the table has every protonation
    kin = [_parse(line, "")[0] for line in SIDE_CHAINS.values()]
    kin = [other for other in kin if [z for z, _, _ in other] == [z for z, _, _ in nodes]]
    return FewestAtoms(
        heavy=Counter({6: 2, 7: 1, 8: 1}) + Counter(z for z, _, _ in nodes),
        on_carbon=1 + sum(h for z, h, _ in nodes if z == 6),
        on_backbone=int("!" not in SIDE_CHAINS[name]),
        elsewhere=min(sum(h for z, h, _ in other if z != 6) for other in kin),
    )


def molecule_name(nodes: tuple[Node, ...], edges: tuple[tuple[int, int], ...]) -> str | None:
    """Returns the name of a small molecule, None if it has none."""
    return _molecule_table().get(_canonical(nodes, edges)) if len(nodes) <= LARGEST else None


@lru_cache(maxsize=1)
def _side_chain_table() -> dict[tuple, str]:
    return {_canonical(*_parse(line, "^")): name for name, line in SIDE_CHAINS.items()}


@lru_cache(maxsize=1)
def _molecule_table() -> dict[tuple, str]:
    return {_canonical(*_parse(line, "")): name for name, line in MOLECULES.items()}


def _parse(line: str, root: str) -> tuple[tuple[Node, ...], tuple[tuple[int, int], ...]]:
    nodes: list[Node] = []
    edges: list[tuple[int, int]] = []
    stack: list[int] = []
    rings: dict[str, int] = {}
    current = -1
    for token in _TOKEN.finditer(line):
        if token["atom"]:
            hydrogens = int(token["h"][1:] or 1) if token["h"] else 0
            nodes.append((atomic_numbers[token["atom"]], hydrogens, root if not nodes else ""))
            if current >= 0:
                edges.append((current, len(nodes) - 1))
            current = len(nodes) - 1
        elif token["ring"]:
            if token["ring"] in rings:
                edges.append((rings[token["ring"]], current))
            else:
                rings[token["ring"]] = current
        elif token["other"] == "(":
            stack.append(current)
        elif token["other"] == ")":
            current = stack.pop()
        else:
            number, hydrogens, marks = nodes[current]
            nodes[current] = (number, hydrogens, marks + token["other"])
    return tuple(nodes), tuple(edges)


@lru_cache(maxsize=4096)
def _canonical(nodes: tuple[Node, ...], edges: tuple[tuple[int, int], ...]) -> tuple:
    """Returns what does not depend on the order of the atoms.

    Colours are refined by those of the neighbours until every atom has seen the whole graph
    (Weisfeiler and Lehman); graphs that this cannot tell apart are not among the tables'.
    """
    near: list[list[int]] = [[] for _ in nodes]
    for a, b in edges:
        near[a].append(b)
        near[b].append(a)
    colors: list = [(n, h, "".join(sorted(set(marks)))) for n, h, marks in nodes]
    history = [tuple(sorted(colors))]
    for _ in nodes:
        views = [(colors[k], tuple(sorted(colors[j] for j in near[k]))) for k in range(len(nodes))]
        ranks = {view: rank for rank, view in enumerate(sorted(set(views)))}
        colors = [ranks[view] for view in views]
        history.append(tuple(sorted(views)))
    return tuple(history)


class Names:
    """Names residues by their graph; what has no name is called by its formula."""

    def __init__(self, molecule: ValenceGraph, owner: Ints, parts: Sequence[Part]) -> None:
        self.molecule = molecule
        self.owner = owner
        self.parts = parts
        self.share: dict[int, list[int]] = {}
        for part in parts:
            if part.kind == "side":
                self._share_out(part)

    def name(self, residue: int, builder: ResidueBuilder) -> str:
        """Returns the name of a residue; see `Residue`."""
        if builder.kind == "amino" and builder.backbone is not None:
            return self._amino(residue, builder, builder.backbone)
        if builder.kind == "molecule":
            return self._molecule(self.parts[builder.roles["molecule"]].atoms)
        return self._cap(builder)

    def _share_out(self, side: Part) -> None:
        """Gives each atom of a side chain to the residue whose alpha carbon is nearest."""
        if len(side.residues) == 1:
            self.share.setdefault(side.residues[0], []).extend(side.atoms)
            return
        inside = set(side.atoms)
        front: dict[int, set[int]] = {}
        for atom in side.atoms:
            for other in self.molecule.near(atom):
                part = self.parts[self.owner[other]]
                if part.kind == "alpha":
                    front.setdefault(atom, set()).update(part.residues)
        seen: set[int] = set()
        while front:
            seen |= front.keys()
            reached: dict[int, set[int]] = {}
            for atom, claims in front.items():
                if len(claims) == 1:
                    self.share.setdefault(next(iter(claims)), []).append(atom)
                for other in self.molecule.near(atom):
                    if other in inside and other not in seen:
                        reached.setdefault(other, set()).update(claims)
            front = reached

    def _amino(self, residue: int, builder: ResidueBuilder, backbone: PeptideBackbone) -> str:
        molecule = self.molecule
        side = self.share.get(residue, [])
        found = self._standard(backbone, side)
        if found is not None:
            return found
        atoms = [a for kind in ("amino", "alpha", "carbonyl") for a in self._atoms(builder, kind)]
        return formula(molecule.numbers[sorted({*atoms, *side})])

    def _standard(self, backbone: PeptideBackbone, side: list[int]) -> str | None:
        molecule, inside = self.molecule, set(side)
        for other in molecule.heavy(backbone.n):
            linked = self.parts[self.owner[other]].kind == "carbonyl"
            if other != backbone.ca and other not in inside and not linked:
                return None
        hydrogens = len(molecule.hydrogens(backbone.ca))
        if not side:
            return "GLY" if hydrogens == 2 else None
        if hydrogens != 1 or len(molecule.near(backbone.ca)) != 4:
            return None
        return side_chain_name(*self._graph(side, backbone))

    def _graph(
        self, atoms: Iterable[int], backbone: PeptideBackbone | None = None
    ) -> tuple[tuple[Node, ...], tuple[tuple[int, int], ...]]:
        molecule = self.molecule
        heavy = [a for a in atoms if molecule.numbers[a] != 1]
        place = {atom: k for k, atom in enumerate(heavy)}
        nodes, edges = [], []
        for atom in heavy:
            marks = ""
            for other in molecule.heavy(atom):
                if other in place:
                    if place[other] > place[atom]:
                        edges.append((place[atom], place[other]))
                elif backbone is not None and other == backbone.ca:
                    marks += "^"
                elif backbone is not None and other == backbone.n:
                    marks += "!"
                else:
                    marks += "~"
            nodes.append((int(molecule.numbers[atom]), len(molecule.hydrogens(atom)), marks))
        return tuple(nodes), tuple(edges)

    def _molecule(self, atoms: list[int]) -> str:
        numbers = self.molecule.numbers
        if len(atoms) == 1:
            return symbol(int(numbers[atoms[0]])).upper()
        return molecule_name(*self._graph(atoms)) or formula(numbers[atoms])

    def _cap(self, builder: ResidueBuilder) -> str:
        molecule = self.molecule
        atoms = [a for kind in builder.roles for a in self._atoms(builder, kind)]
        alpha = [a for a in self._atoms(builder, "alpha") if molecule.numbers[a] != 1]
        methyl = len(alpha) == 1 and is_methyl(molecule, alpha[0])
        made_of = formula(molecule.numbers[sorted(atoms)])
        known = {"C2H3O": "ACE", "CHO": "FOR", "CH4N": "NME", "H2N": "NH2"}
        return known[made_of] if made_of in known and methyl == bool(alpha) else made_of

    def _atoms(self, builder: ResidueBuilder, kind: str) -> list[int]:
        parts = (part for role, part in builder.roles.items() if role == kind)
        return [atom for part in parts for atom in self.parts[part].atoms]
