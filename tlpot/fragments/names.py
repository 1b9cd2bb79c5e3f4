"""Residue names from the graph of the side chain, hydrogens counted."""

from __future__ import annotations

import re
from functools import lru_cache

from ase.data import atomic_numbers

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

Node = tuple[int, int, str]
"""Atomic number, hydrogens, and marks: ``^`` on CA, ``!`` on the amino N, ``~`` elsewhere."""

LARGEST = 16
"""Heavy atoms; nothing in the tables has more."""

_TOKEN = re.compile(r"(?P<atom>[A-Z][a-z]?)(?P<h>H\d?)?|%(?P<ring>\d)|(?P<other>[()!~])")


def side_chain_name(nodes: tuple[Node, ...], edges: tuple[tuple[int, int], ...]) -> str | None:
    """Returns the name of the residue with this side chain, None if it has none."""
    return _side_chain_table().get(_canonical(nodes, edges)) if len(nodes) <= LARGEST else None


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
