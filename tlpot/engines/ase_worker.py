"""Serves ASE calculators of another Python over standard input and output; a script, run by path.

It needs numpy and ase there, and nothing of tlpot: see `tlpot.engines.other_python`, which starts
it with ``MODULE`` and ``CLASS`` as arguments. A message is eight bytes with the length of a JSON
text, the text, and the arrays that it lists, all of them float64; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import struct
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

WANTED = {
    "energy": lambda atoms: atoms.get_potential_energy(),
    "forces": lambda atoms: atoms.get_forces(),
    "stress": lambda atoms: atoms.calc.get_stress(atoms),
    "descriptors": lambda atoms: atoms.calc.get_descriptors(atoms),
}


def main() -> None:
    """Answers until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks decides when to stop
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what calculators print must not come between
    asked = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what calculators start must not read requests
    # beside this script lies a module called ase
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [os.getcwd(), *(p for p in sys.path if os.path.abspath(p) != here)]  # noqa: PTH100, PTH109
    calculators: dict[str, Any] = {}
    while True:
        head = asked.read(8)
        if len(head) < 8:
            return
        request = json.loads(asked.read(struct.unpack("<q", head)[0]))
        try:
            answer, arrays = respond(request, asked, calculators)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}", "kind": type(error).__name__}
            arrays = {}
        answer["arrays"] = {name: array.shape for name, array in arrays.items()}
        text = json.dumps(answer, default=str).encode()
        parts = [struct.pack("<q", len(text)), text, *(a.tobytes() for a in arrays.values())]
        message = memoryview(b"".join(parts))
        while message:
            message = message[out.write(message) :]


def respond(
    request: dict[str, Any], asked: BinaryIO, calculators: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the answer and its arrays."""
    import numpy as np
    from ase import Atoms

    arrays = {
        name: np.frombuffer(asked.read(8 * int(np.prod(shape))), "<f8").reshape(shape)
        for name, shape in request["arrays"].items()
    }
    if request.get("threads") and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(request["threads"])
    key = json.dumps(request["settings"], sort_keys=True)
    if key not in calculators:
        if len(calculators) > 8:  # one for each charge and multiplicity
            calculators.clear()
        calculators[key] = make(sys.argv[1], sys.argv[2], request["settings"])
    calculator = calculators[key]
    if not arrays:
        return describe(calculator, sys.argv[1]), {}
    if "infos" in request:
        rows = zip(arrays["numbers"].astype(int), arrays["positions"], request["infos"])  # noqa: B905
        frames = [Atoms(z, x.copy(), info=info) for z, x, info in rows]
        found = calculator.calculate_batch(frames, request["wanted"])
        return {}, {name: np.array(found[name], dtype="<f8") for name in request["wanted"]}
    atoms = Atoms(
        arrays["numbers"].astype(int),
        arrays["positions"].copy(),
        cell=arrays["cell"].copy(),
        pbc=request["pbc"],
        info=request["info"],
    )
    if hasattr(calculator, "reset"):
        calculator.reset()  # what came before must not matter; charges are no change to ASE
    atoms.calc = calculator
    found = {name: WANTED[name](atoms) for name in request["wanted"]}
    return {}, {name: np.asarray(array, dtype="<f8") for name, array in found.items()}


def make(module: str, name: str, settings: dict[str, Any]) -> Any:
    """Returns the calculator of a class, or of a function that returns one."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            public = ", ".join(n for n in vars(found) if not n.startswith("_") and n[0].isupper())
            raise AttributeError(f"{module} has no {name!r}; it has {public or 'no class'}")
        found = getattr(found, part)
    calculator = found(**settings)
    if not hasattr(calculator, "implemented_properties"):
        raise TypeError(f"{module}:{name} makes a {type(calculator).__name__}, no ASE calculator")
    return calculator


def describe(calculator: Any, module: str) -> dict[str, Any]:
    """Returns what decides the numbers, and what the calculator says of itself in ``about``."""
    from importlib import metadata

    package = module.partition(".")[0]
    try:
        packages: Any = getattr(metadata, "packages_distributions", dict)()  # of Python 3.10
        names = packages.get(package, [package])
        program = f"{names[0]} {metadata.version(names[0])}"
    except metadata.PackageNotFoundError:
        program = f"{module} {hashed(sys.modules[module].__file__)}"
    about = dict(getattr(calculator, "about", {}))
    files = {os.path.basename(file): hashed(file) for file in about.pop("files", [])}  # noqa: PTH119
    return {
        "properties": list(calculator.implemented_properties),
        "batches": hasattr(calculator, "calculate_batch"),
        "program": program,
        "about": about,
        "files": files,
    }


def hashed(path: str | None) -> str:
    """Returns the SHA-256 of a file, or of all in a folder, in words."""
    found = hashlib.sha256()
    root = Path(path or os.devnull)  # some modules have no file
    for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if not file.is_dir():
            found.update(file.read_bytes())
    return f"sha256:{found.hexdigest()}"


if __name__ == "__main__":
    main()
