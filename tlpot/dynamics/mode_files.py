"""Vibrations as files for viewers: extended XYZ with a frame for each mode, and Molden."""

from __future__ import annotations

import os

import numpy as np
from ase import Atoms, units

from tlpot.dynamics.vibrations import HarmonicModes
from tlpot.files import write_text
from tlpot.structures import extxyz_text


def write_modes(atoms: Atoms, modes: HarmonicModes, path: str | os.PathLike[str]) -> None:
    """Writes extended XYZ: a frame for each mode, whose column ``mode`` is its displacement.

    The displacement of all atoms together has length 1 Å. ``wavenumber`` (cm⁻¹, negative for an
    imaginary mode), ``reduced_mass`` (amu) and ``mode_number`` are in the comment line.

    Raises:
        OutputError: the file could not be written.
    """
    frames = []
    for k, wavenumber in enumerate(modes.wavenumbers):
        frame = atoms.copy()
        frame.set_constraint()
        frame.arrays.pop("momenta", None)
        frame.arrays["mode"] = modes.displacements[k].copy()
        frame.info |= {
            "mode_number": k + 1,
            "wavenumber": float(wavenumber),
            "reduced_mass": float(modes.reduced_masses[k]),
        }
        frames.append(frame)
    write_text(path, extxyz_text(frames))


def write_molden(atoms: Atoms, modes: HarmonicModes, path: str | os.PathLike[str]) -> None:
    """Writes the format of Molden (Schaftenaar and Noordik, doi:10.1023/A:1008193805436).

    Raises:
        OutputError: the file could not be written.
    """
    symbols, bohr = list(atoms.symbols), atoms.positions / units.Bohr
    lines = ["[Molden Format]", "[Atoms] AU"]
    lines += [
        f"{symbol} {k + 1} {number} " + _row(place)
        for k, (symbol, number, place) in enumerate(zip(symbols, atoms.numbers, bohr, strict=True))
    ]
    lines += ["[FREQ]", *(f"{wavenumber:.4f}" for wavenumber in modes.wavenumbers)]
    lines += ["[FR-COORD]", *(f"{s} {_row(p)}" for s, p in zip(symbols, bohr, strict=True))]
    lines.append("[FR-NORM-COORD]")
    for k, displacement in enumerate(modes.displacements):
        lines += [f"vibration {k + 1}", *map(_row, displacement)]
    write_text(path, "\n".join(lines) + "\n")


def _row(vector: np.ndarray) -> str:
    return " ".join(f"{value:.8f}" for value in vector.tolist())
