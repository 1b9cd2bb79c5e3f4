"""What perceived residues are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tlpot.fragments.backbone import Backbone, Molecule, is_methyl
from tlpot.fragments.draft import Draft, Part
from tlpot.fragments.elements import formula, symbol
from tlpot.fragments.names import Node, molecule_name, side_chain_name


class Names:
    """Names residues by their graph; what has no name is called by its formula."""

    def __init__(self, molecule: Molecule, owner: NDArray[np.int64], parts: Sequence[Part]) -> None:
        self.molecule = molecule
        self.owner = owner
        self.parts = parts
        self.share: dict[int, list[int]] = {}
        for part in parts:
            if part.kind == "side":
                self._share_out(part)

    def name(self, residue: int, draft: Draft) -> str:
        """Returns the name of a residue; see `Residue`."""
        if draft.kind == "amino" and draft.backbone is not None:
            return self._amino(residue, draft, draft.backbone)
        if draft.kind == "molecule":
            return self._molecule(self.parts[draft.roles["molecule"]].atoms)
        return self._cap(draft)

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

    def _amino(self, residue: int, draft: Draft, backbone: Backbone) -> str:
        molecule = self.molecule
        side = self.share.get(residue, [])
        found = self._standard(backbone, side)
        if found is not None:
            return found
        atoms = [a for kind in ("amino", "alpha", "carbonyl") for a in self._atoms(draft, kind)]
        return formula(molecule.numbers[sorted({*atoms, *side})])

    def _standard(self, backbone: Backbone, side: list[int]) -> str | None:
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
        self, atoms: Iterable[int], backbone: Backbone | None = None
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

    def _cap(self, draft: Draft) -> str:
        molecule = self.molecule
        atoms = [a for kind in draft.roles for a in self._atoms(draft, kind)]
        alpha = [a for a in self._atoms(draft, "alpha") if molecule.numbers[a] != 1]
        methyl = len(alpha) == 1 and is_methyl(molecule, alpha[0])
        made_of = formula(molecule.numbers[sorted(atoms)])
        known = {"C2H3O": "ACE", "CHO": "FOR", "CH4N": "NME", "H2N": "NH2"}
        return known[made_of] if made_of in known and methyl == bool(alpha) else made_of

    def _atoms(self, draft: Draft, kind: str) -> list[int]:
        return [
            a for role, part in draft.roles.items() if role == kind for a in self.parts[part].atoms
        ]
