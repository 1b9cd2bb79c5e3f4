"""Small fragment files with the labels of a toy potential."""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from tlpot.data import add_level
from tlpot.fragments import ProteinFrames, export_fragments, fragments_from
from tlpot.structures import build_peptide


class Springs(Calculator):
    """A toy: E = Σ (r - 1)² exp(-r) over all pairs, with its exact forces; no chemistry."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, j = np.triu_indices(len(self.atoms), 1)
        vectors = self.atoms.positions[j] - self.atoms.positions[i]
        r = np.linalg.norm(vectors, axis=1)
        slope = (2 * (r - 1) - (r - 1) ** 2) * np.exp(-r)
        forces = np.zeros((len(self.atoms), 3))
        pull = (slope / r)[:, None] * vectors
        np.add.at(forces, i, pull)
        np.add.at(forces, j, -pull)
        self.results = {"energy": float(((r - 1) ** 2 * np.exp(-r)).sum()), "forces": forces}


def rattled(sequence, n, seed=0, amplitude=0.03, **options):
    """[n] frames of a peptide with displaced atoms."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = build_peptide(sequence, **options)
        atoms.positions += amplitude * rng.normal(size=atoms.positions.shape)
        frames.append(atoms)
    return frames


def fragment_file(path, proteins=None, scheme="mfcc", **options):
    """Two proteins of three frames each, without labels."""
    proteins = proteins or {"one": ("AGA", 0), "two": ("GAS", 1)}
    export_fragments(
        [ProteinFrames(name=k, frames=rattled(s, 3, seed)) for k, (s, seed) in proteins.items()],
        scheme,
        path,
        **options,
    )
    return path


def labelled(path, level="springs", every=1, offset=0.0, **options):
    """Labels every so manieth row of each kind with the toy."""
    labels = {}
    for atoms in fragments_from(path):
        if atoms.info["row"] % every == 0:
            atoms.calc = Springs()
            rows, energies, forces = labels.setdefault(atoms.info["kind"], ([], [], []))
            rows.append(atoms.info["row"])
            energies.append(atoms.get_potential_energy() + offset)
            forces.append(atoms.get_forces())
    add_level(path, level, labels, {"program": "toy"}, **options)
    return path
