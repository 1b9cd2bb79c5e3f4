"""TorchScript models as engines: AIMNet2, and any other whose inputs and outputs are described."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TextIO

import ase.units
import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from tlpot.config import parse, read_yaml, to_mapping
from tlpot.data import Labels
from tlpot.engines.engine import LabelError, check_electrons, check_model_name, is_theory
from tlpot.engines.registry import EngineName
from tlpot.errors import ConfigError, ModelFileError, nearest
from tlpot.levels import canonical_level
from tlpot.system import System
from tlpot.torch_mode import choose_device, plain_torch

INPUTS = ("positions", "numbers", "charge", "spin", "cell", "pbc", "system_idx")
_DEVIATIONS = ("energy_std", "forces_std")
OUTPUTS = ("energy", "forces", "stress", "descriptors", *_DEVIATIONS)
_UNITS = {
    "eV": 1.0, "Hartree": ase.units.Hartree, "kcal/mol": ase.units.kcal / ase.units.mol,
    "kJ/mol": ase.units.kJ / ase.units.mol, "meV": 1e-3, "Angstrom": 1.0, "Bohr": ase.units.Bohr,
    "nm": 10.0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchDescription:
    """What a TorchScript model takes and gives.

    Attributes:
        name: of the model, which its labels carry; None for that of the file.
        inputs: what each input is called, as an argument or as a key of the one argument that is
            a dictionary, and which of `INPUTS` it is.
        outputs: which of `OUTPUTS` is called what: a key of the dictionary that the model returns,
            or a place in its tuple. An energy that is all it returns needs no entry. Deviations are
            meant as those of `tlpot.models.Ensemble`: over the members with ddof = 1, of the
            forces [n_atoms, 3] for each component, in the units of energy and forces.
        energy_unit, length_unit: of the model; forces and stress follow.
        batched: whether inputs begin with a dimension for the structures, of length 1.
        dtype: of the model's weights.
        elements: symbols that it knows; empty for all.
        licence, origin: of the weights, for the definition of the labels.
    """

    name: str | None = None
    inputs: Mapping[str, str]
    outputs: Mapping[str, str | int] = field(default_factory=dict)
    energy_unit: Literal["eV", "meV", "Hartree", "kcal/mol", "kJ/mol"] = "eV"
    length_unit: Literal["Angstrom", "Bohr", "nm"] = "Angstrom"
    batched: bool = True
    dtype: Literal["float32", "float64"] = "float32"
    elements: tuple[str, ...] = ()
    licence: str | None = None
    origin: str | None = None

    def __post_init__(self) -> None:
        for quantity in self.inputs.values():
            if quantity not in INPUTS:
                raise ConfigError(f"inputs: {quantity!r}{nearest(quantity, INPUTS)}")
        for quantity in self.outputs:
            if quantity not in OUTPUTS:
                raise ConfigError(f"outputs: {quantity!r}{nearest(quantity, OUTPUTS)}")
        for needed in ("positions", "numbers"):
            if needed not in self.inputs.values():
                raise ConfigError(f"inputs: none of them is the {needed}")
        for symbol in self.elements:
            if symbol not in chemical_symbols[1:]:
                raise ConfigError(f"elements: {symbol!r} is the symbol of no element")


AIMNET2 = TorchDescription(
    name="aimnet2",
    inputs={"coord": "positions", "numbers": "numbers", "charge": "charge"},
    outputs={"energy": "energy", "descriptors": "aim"},
    elements=("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "I"),
    licence="MIT",
    origin="https://github.com/isayevlab/AIMNet2, doi:10.1039/D4SC08572H",
)
"""The layout of AIMNet2 of 2023; eV and Å, charged closed shells without a cell."""

AIMNET2_ENSEMBLE = replace(
    AIMNET2, outputs={name: name for name in ("energy", "forces", *_DEVIATIONS)}
)
"""The same of several networks of one kind in one file, which answer with their mean and with
torch.std over them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchSettings:
    """Settings of a TorchScript model.

    Attributes:
        description: a YAML file with the fields of `TorchDescription`; None for ``FILE.yaml``
            beside the model, else the layout of AIMNet2.
        device: where it runs; None for CUDA if there is one, else the CPU.
    """

    description: str | None = None
    device: str | None = None


def make_engine(name: EngineName, label: str | None) -> TorchEngine:
    """Makes the engine of a name, see `tlpot.engines.registry`."""
    settings = parse(TorchSettings, name.settings, f"engine {name.text}")
    return TorchEngine(Path(name.target).expanduser(), settings, label)


class TorchEngine:
    """A TorchScript model in this process.

    Args:
        path: of the file that ``torch.jit.save`` wrote.
        settings: where it is described, and where it runs.
        label: a name for the labels; None for that of the model.

    Raises:
        ModelFileError: no such file, or no TorchScript archive.
        ConfigError: no description, one that does not fit, or a name of a level of theory.
    """

    def __init__(self, path: Path, settings: TorchSettings, label: str | None) -> None:
        self._path, self._device = path, choose_device(settings.device)
        self._model, self._hash = _load(path, self._device)
        arguments = self._model.forward.schema.arguments[1:]
        self._takes_dict = len(arguments) == 1 and str(arguments[0].type).startswith("Dict")
        self._description = _description(path, settings, self._model)
        self._inputs = {quantity: key for key, quantity in self._description.inputs.items()}
        names = [argument.name for argument in arguments]
        if not self._takes_dict and set(names) != self._description.inputs.keys():
            raise ConfigError(
                f"{path} takes {', '.join(names)}, but its description names the inputs "
                f"{', '.join(self._description.inputs)}"
            )
        known = self._description.name or path.stem
        if label is not None:
            self._level = check_model_name(label, known)
        else:
            self._level = canonical_level(known)
            self._level = f"model-{self._level}" if is_theory(self._level) else self._level
        self._units = (_UNITS[self._description.energy_unit], _UNITS[self._description.length_unit])
        self._batches_known = False
        self.has_forces = True
        self.has_stress = "cell" in self._inputs

    @property
    def level(self) -> str:
        """Name of the model."""
        return self._level

    @property
    def definition(self) -> Mapping[str, Any]:
        """Hash of the file, and what is said of it."""
        described = {k: v for k, v in to_mapping(self._description).items() if v is not None}
        # energies and forces are the same whether or not deviations are told beside them
        outputs = described["outputs"]
        described["outputs"] = {k: v for k, v in outputs.items() if k not in _DEVIATIONS}
        return {
            "engine": "torch",
            "program": "TorchScript",
            "model_sha256": self._hash,
            **{key: described.pop(key) for key in ("licence", "origin") if key in described},
            "description": described,
        }

    def check(self, elements: Sequence[int], *, periodic: bool) -> None:
        """Checks that the model knows the elements, and takes a cell if there is one.

        Raises:
            ConfigError: it does not.
        """
        known = self._description.elements
        unknown = [chemical_symbols[z] for z in elements if chemical_symbols[z] not in known]
        if known and unknown:
            raise ConfigError(
                f"{self._level} does not know {', '.join(unknown)} (only {', '.join(known)}); "
                "leave these structures out"
            )
        if periodic and not self.has_stress:
            raise ConfigError(
                f"{self._level} takes no cell, so periodic structures cannot be computed; leave "
                "them out, or name the input in its description"
            )

    def compute(self, system: System, *, forces: bool, log: TextIO, stress: bool = False) -> Labels:
        """Evaluates the model; forces and stress that it does not give are derivatives.

        Raises:
            LabelError: a charge or multiplicity that the model does not read, or it fails.
        """
        return self._computed(system, forces, stress, ())[0]

    @property
    def deviations(self) -> tuple[str, ...]:
        """Which of ``energy_std`` and ``forces_std`` the model gives."""
        return tuple(name for name in _DEVIATIONS if name in self._description.outputs)

    def compute_with_deviations(
        self, system: System, *, forces: bool, log: TextIO, stress: bool = False
    ) -> tuple[Labels, dict[str, NDArray[np.float64]]]:
        """Evaluates the model once for labels and `deviations`, see `tlpot.engines.Deviating`.

        Raises:
            LabelError: see `compute`; or deviations of another shape.
        """
        return self._computed(system, forces, stress, self.deviations)

    def _computed(
        self, system: System, forces: bool, stress: bool, deviations: Sequence[str]
    ) -> tuple[Labels, dict[str, NDArray[np.float64]]]:
        energy_unit, length_unit = self._units
        wanted = ["energy", *["forces"] * forces, *["stress"] * stress]
        given = [k for k in wanted if k == "energy" or k in self._description.outputs]
        derive = len(given) < len(wanted)
        found = self._evaluate(system, [*given, *deviations], derive)
        energy = found["energy"]
        if energy.numel() != 1:
            raise LabelError(f"{self._path}: the energy has shape {tuple(energy.shape)}")
        if derive and not energy.requires_grad:
            raise LabelError(
                f"{self._path} gives no {' nor '.join(wanted[1:])}, and its energy cannot be "
                "derived; name them under outputs in its description, or take forces=no"
            )
        volume = abs(float(np.linalg.det(system.cell))) / length_unit**3
        if stress and not volume:
            raise LabelError(f"{self._level}: stress needs three lattice vectors")
        if derive:
            places = (found["positions"], found["strain"])
            slopes = torch.autograd.grad(energy.sum(), places, materialize_grads=True)
            derived = {"forces": -slopes[0], "stress": slopes[1] / (volume or 1.0)}
            found = {**derived, **found}
        shapes = {"forces": system.positions.shape, "stress": (3, 3)}
        units = {"forces": energy_unit / length_unit, "stress": energy_unit / length_unit**3}
        labels = Labels(
            energy=float(energy.detach().double()) * energy_unit,
            **{k: _numbers(found[k]).reshape(shapes[k]) * units[k] for k in wanted[1:]},
        )
        shapes |= {"energy_std": (), "forces_std": system.positions.shape}
        units |= {"energy_std": energy_unit, "forces_std": energy_unit / length_unit}
        spread = {}
        for name in deviations:
            values = _numbers(found[name])
            if values.size != math.prod(shapes[name]):
                raise LabelError(
                    f"{self._path}: {name} has shape {values.shape}, expected {shapes[name]}; "
                    "leave it out of outputs in the description"
                )
            spread[name] = values.reshape(shapes[name]) * units[name]
        return labels, spread

    @property
    def takes_batches(self) -> bool:
        """Whether inputs begin with a dimension for the structures, and none is a cell."""
        return self._description.batched and not self.has_stress

    def compute_batch(
        self, systems: Sequence[System], *, forces: bool, log: TextIO
    ) -> list[Labels]:
        """Evaluates the model for several structures at once.

        The first batch is compared with structures that are computed alone.

        Raises:
            LabelError: see `compute`.
            ConfigError: the model does not keep the structures of a batch apart.
        """
        found = self._batch(systems, forces)
        if not self._batches_known:
            for k in (0, len(systems) - 1):
                alone = self.compute(systems[k], forces=forces, log=log)
                if not _agree(found[k], alone):
                    raise ConfigError(
                        f"{self._path} gives a structure another energy or other forces in a batch "
                        f"than alone ({found[k].energy:.6f} and {alone.energy:.6f} eV); leave "
                        "batch (--batch) out"
                    )
            self._batches_known = True
        return found

    @plain_torch()
    def _batch(self, systems: Sequence[System], forces: bool) -> list[Labels]:
        for system in systems:
            self._check_told(system)
        energy_unit, length_unit = self._units
        dtype = getattr(torch, self._description.dtype)
        options = {"dtype": dtype, "device": self._device}
        given = forces and "forces" in self._description.outputs
        derive = forces and not given
        with torch.set_grad_enabled(derive):
            positions = torch.tensor(
                np.stack([system.positions for system in systems]) / length_unit, **options
            ).requires_grad_(derive)
            numbers = np.stack([system.atomic_numbers for system in systems])
            values = {
                "positions": positions,
                "numbers": torch.tensor(numbers, dtype=torch.int64),
                "pbc": torch.zeros((len(systems), 3), dtype=torch.bool),
                "charge": torch.tensor([float(system.charge) for system in systems], dtype=dtype),
                "spin": torch.tensor([float(system.spin) for system in systems], dtype=dtype),
                "system_idx": torch.arange(len(systems)).repeat_interleave(numbers.shape[1]),
            }
            answer = self._answer(values)
            energy = self._output(answer, "energy")
            if energy.numel() != len(systems):
                raise ConfigError(
                    f"{self._path} gives energies of shape {tuple(energy.shape)} for "
                    f"{len(systems)} structures; leave batch (--batch) out"
                )
        vectors = None
        if given:
            vectors = self._output(answer, "forces")
        elif derive:
            vectors = -torch.autograd.grad(energy.sum(), positions)[0]
        energies = _numbers(energy).reshape(-1) * energy_unit
        if vectors is None:
            return [Labels(energy=float(each)) for each in energies]
        own = _numbers(vectors).reshape(tuple(positions.shape)) * (energy_unit / length_unit)
        return [Labels(energy=float(e), forces=f) for e, f in zip(energies, own, strict=True)]

    def descriptors(self, system: System, log: TextIO) -> NDArray[np.float64]:
        """Returns the output that the description calls so, [n_atoms, n_features].

        Raises:
            LabelError: it names none, or see `compute`.
        """
        if "descriptors" not in self._description.outputs:
            raise LabelError(f"the description of {self._path} names no output for descriptors")
        found = _numbers(self._evaluate(system, ["descriptors"])["descriptors"])
        rows = found[0] if found.ndim == 3 and len(found) == 1 else found
        if rows.ndim != 2 or len(rows) != len(system):
            raise LabelError(
                f"{self._path}: the descriptors have shape {found.shape}, expected one row for "
                f"each of {len(system)} atoms"
            )
        return rows

    def use_threads(self, n: int | None) -> int:
        """Sets torch's threads."""
        if n is not None:
            torch.set_num_threads(n)
        return torch.get_num_threads()

    @plain_torch()
    def _evaluate(
        self, system: System, wanted: Sequence[str], derive: bool = False
    ) -> dict[str, Tensor]:
        """Returns outputs in the model's units, and what they may be derived by."""
        self._check_told(system)
        dtype = getattr(torch, self._description.dtype)
        options = {"dtype": dtype, "device": self._device}
        with torch.set_grad_enabled(derive):
            positions = torch.tensor(system.positions / self._units[1], **options)
            cell = torch.tensor(system.cell / self._units[1], **options)
            strain = torch.zeros((3, 3), requires_grad=derive, **options)
            positions.requires_grad_(derive)
            change = torch.eye(3, **options) + 0.5 * (strain + strain.T)
            values = {
                "positions": positions @ change if "cell" in self._inputs else positions,
                "cell": cell @ change,
                "numbers": torch.tensor(system.atomic_numbers, dtype=torch.int64),
                "pbc": torch.tensor(system.pbc),
                "charge": torch.tensor(float(system.charge), dtype=dtype),
                "spin": torch.tensor(float(system.spin), dtype=dtype),
            }
            if self._description.batched:
                values = {key: value[None] for key, value in values.items()}
            values["system_idx"] = torch.zeros(len(positions), dtype=torch.int64)
            answer = self._answer(values)
        found = {quantity: self._output(answer, quantity) for quantity in wanted}
        return {**found, "positions": positions, "strain": strain}

    def _check_told(self, system: System) -> None:
        for key, value, usual in (("charge", system.charge, 0), ("spin", system.spin, 1)):
            if value != usual and key not in self._inputs:
                raise LabelError(f"the structure has {key} {value}, which {self._level} ignores")
        if "charge" in self._inputs:
            check_electrons(system)

    def _answer(self, values: Mapping[str, Tensor]) -> Any:
        """Returns what the model says of its inputs, under the names that it has for them."""
        inputs = {
            key: values[quantity].to(self._device)
            for key, quantity in self._description.inputs.items()
        }
        try:
            return self._model(inputs) if self._takes_dict else self._model(**inputs)
        except (RuntimeError, TypeError) as error:  # torch's own and those of the model
            last = str(error).strip().splitlines()[-1]
            raise LabelError(f"{self._path} fails: {last}") from error

    def _output(self, answer: Any, quantity: str) -> Tensor:
        key = self._description.outputs.get(quantity)
        if key is None and isinstance(answer, Tensor):
            return answer
        try:
            found: Tensor = answer[quantity if key is None else key]
        except (KeyError, IndexError, TypeError) as error:
            raise LabelError(
                f"{self._path} gives no {key or quantity!r}; say in its description, under "
                f"outputs, what the {quantity} is called"
            ) from error
        return found


def _load(path: Path, device: torch.device) -> tuple[Any, str]:
    """Returns the model and the SHA-256 of its file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch advertises its other formats
            model = torch.jit.load(str(path), map_location=device)
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(
            f"{path} is no TorchScript archive that this torch reads "
            f"({str(error).split('. ')[0].strip()}); expected what torch.jit.save writes"
        ) from error
    model.eval()
    for weight in model.parameters():
        weight.requires_grad_(False)
    return model, hashlib.sha256(content).hexdigest()


def _description(path: Path, settings: TorchSettings, model: Any) -> TorchDescription:
    beside = path.with_name(f"{path.name}.yaml")
    source = beside if settings.description is None else Path(settings.description).expanduser()
    if settings.description is not None or source.is_file():
        return parse(TorchDescription, read_yaml(source), str(source))
    if model.original_name == "AIMNet2":
        return AIMNET2
    if model.original_name == "EnsembledModel" and _kinds(model) == {"AIMNet2"}:
        return AIMNET2_ENSEMBLE
    raise ConfigError(
        f"{path} is not of a layout that is known; describe its inputs and outputs in {beside} or "
        "with description=FILE.yaml, see docs/foreign.md"
    )


def _kinds(model: Any) -> set[str]:
    """Returns what the members of an ensemble are, each of which gives forces with its energy."""
    members = model.models.children() if hasattr(model, "models") else ()
    return {getattr(getattr(m, "module", m), "original_name", "") for m in members}


def _agree(one: Labels, other: Labels) -> bool:
    """Whether two labels differ by no more than rounding in single precision."""
    energies = abs(one.energy - other.energy) <= 1e-3 + 1e-6 * abs(other.energy)
    if one.forces is None or other.forces is None:
        return bool(energies)
    return bool(energies and np.allclose(one.forces, other.forces, rtol=1e-3, atol=2e-3))


def _numbers(tensor: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = tensor.detach().double().cpu().numpy()
    return found
