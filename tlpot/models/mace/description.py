"""What the file of a mace-torch model says of its network, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from tlpot.errors import ConfigError, ModelFileError
from tlpot.models.mace.architecture import (
    Block,
    DistanceTransform,
    MaceArchitecture,
    PairRepulsion,
    StateEmbedding,
)
from tlpot.models.mace.archive import Module, Recorded

ELSEWHERE = "use it as it is by the engine 'env:PYTHON ase:MODULE:CLASS' (docs/foreign.md)"
BLOCKS: Mapping[str, Block] = {
    "RealAgnosticInteractionBlock": "plain",
    "RealAgnosticResidualInteractionBlock": "residual",
    "RealAgnosticDensityInteractionBlock": "density",
    "RealAgnosticDensityResidualInteractionBlock": "density-residual",
    "RealAgnosticResidualNonLinearInteractionBlock": "nonlinear",
}
READOUTS = ("LinearReadoutBlock", "NonLinearReadoutBlock", "NonLinearBiasReadoutBlock")


def describe_mace(
    module: Module, name: str, elements: Sequence[int] | None
) -> tuple[MaceArchitecture, list[str]]:
    """Returns the architecture of a mace-torch model, and the symbols of elements left out.

    Raises:
        ModelFileError: a model that tlpot's network cannot represent; the message says why.
        ConfigError: an element that the model does not know.
    """
    return _Description(module, name).architecture(elements)


class _Description:
    def __init__(self, module: Module, name: str) -> None:
        self.module, self.name, self.state = module, name, module.state()

    def refuse(self, what: str, remedy: str = ELSEWHERE) -> ModelFileError:
        return ModelFileError(f"{self.name} {what}, which tlpot's network cannot do; {remedy}")

    def within(self, path: str) -> Module:
        found = self.module.within(path)
        if found is None:
            raise ModelFileError(
                f"{self.name} has no part {path!r}, expected a MACE of mace-torch 0.3.6 to 0.3.16"
            )
        return found

    def number(self, key: str) -> float:
        if key not in self.state:
            raise ModelFileError(f"{self.name} lacks the number {key!r}; it is damaged")
        found = float(np.asarray(self.state[key], dtype=np.float64).reshape(-1)[0])
        if not math.isfinite(found):
            raise ModelFileError(f"{self.name}: the number {key!r} is {found}; it is damaged")
        return found

    def flag(self, key: str, default: bool) -> bool:
        """Returns an attribute that files of older versions lack, where it was not yet a choice."""
        return bool(self.module.attributes.get(key, default))

    def irreps(self, path: str, attribute: str) -> list[tuple[int, int, int]]:
        """Returns (multiplicity, degree, parity) of the irreps of a part."""
        found = self.within(path).attributes.get(attribute)
        try:
            return [(int(m), int(l), int(p)) for m, (l, p) in found]  # type: ignore[union-attr]
        except (TypeError, ValueError):
            raise ModelFileError(
                f"{self.name}: the irreps {attribute!r} of {path} cannot be read; it is of a "
                "version of mace-torch that is not known"
            ) from None

    def natural(self, path: str, attribute: str) -> tuple[int, int]:
        """Returns channels and highest degree of irreps of natural parity and one multiplicity."""
        irreps = self.irreps(path, attribute)
        expected = [(irreps[0][0], l, (-1) ** l) for l in range(len(irreps))]
        if irreps != expected:
            text = "+".join(f"{m}x{l}{'o' if p < 0 else 'e'}" for m, l, p in irreps)
            raise self.refuse(
                f"has features {text} ({path}), expected degrees from 0 on with natural parity "
                "and one multiplicity (no 0o, 1e or 2o)"
            )
        return irreps[0][0], len(irreps) - 1

    def architecture(self, elements: Sequence[int] | None) -> tuple[MaceArchitecture, list[str]]:
        self._kind()
        numbers = [int(z) for z in np.asarray(self.state["atomic_numbers"]).reshape(-1)]
        asked = sorted(numbers if elements is None else set(elements))
        unknown = [chemical_symbols[z] for z in asked if z not in numbers]
        if unknown or not asked:
            known = " ".join(chemical_symbols[z] for z in sorted(numbers))
            raise ConfigError(
                f"{self.name} does not know {', '.join(unknown) or 'no elements'}; it was made "
                f"for {known}"
            )
        blocks = self._blocks()
        layers = range(len(blocks))
        c, l_hidden = self.natural("products.0.linear", "irreps_out")
        for k in layers:
            if self.natural(f"products.{k}.linear", "irreps_out")[0] != c:
                raise self.refuse("has layers of different widths")
        _, l_max = self.natural("interactions.0.conv_tp", "irreps_in2")
        sent = [self.natural(f"interactions.{k}.linear_up", "irreps_out") for k in layers]
        correlation = tuple(self._correlation(k, l_max, k == len(blocks) - 1) for k in layers)
        hidden, biased, last_only = self._readouts(len(blocks))
        architecture = MaceArchitecture(
            elements=tuple(asked),
            radii=self._radii(asked),
            cutoff=round(self.number("r_max"), 6),
            blocks=tuple(blocks),
            n_channels=c,
            l_max=l_max,
            l_hidden=l_hidden,
            edge_channels=tuple(channels for channels, _ in sent),
            edge_degrees=tuple(degree for _, degree in sent),
            correlation=correlation,
            avg_neighbors=tuple(self._neighbors(k, blocks[k]) for k in layers),
            n_basis=self._n_basis(),
            envelope_power=round(self.number("radial_embedding.cutoff_fn.p")),
            radial_hidden=self._radial_hidden(blocks),
            readout_hidden=hidden,
            readout_biased=biased,
            last_readout_only=last_only,
            agnostic_product=self.flag("use_agnostic_product", False),
            cutoff_in_basis=self.flag("apply_cutoff", True),
            transform=self._transform(),
            repulsion=self._repulsion(),
            embeddings=self._embeddings(),
            embedding_readout="embedding_readout" in self.module.children,
        )
        left_out = [chemical_symbols[z] for z in sorted(numbers) if z not in asked]
        return architecture, left_out

    def _kind(self) -> None:
        module = self.module
        if not module.path.startswith("mace."):
            raise ModelFileError(
                f"{self.name} holds {module.path}, expected a model of mace-torch (MACE or "
                f"ScaleShiftMACE); {ELSEWHERE}"
            )
        if module.name not in ("MACE", "ScaleShiftMACE"):
            raise self.refuse(f"is a {module.name}, expected MACE or ScaleShiftMACE")
        if self.flag("use_so3", False):
            raise self.refuse("was made with use_so3")
        if any("cuet" in m.path or "cuequivariance" in m.path for m in _all(module)):
            raise self.refuse(
                "is in the format of cuEquivariance",
                "convert it first: mace_cueq_to_e3nn, of mace-torch",
            )
        parts = {"interactions", "products", "readouts"}
        if "atomic_numbers" not in self.state or not parts <= set(module.children):
            raise ModelFileError(f"{self.name} lacks parts that every MACE has; it is damaged")

    def _blocks(self) -> list[Block]:
        found = [m.name for m in self.within("interactions").children.values()]
        for block in found:
            if block not in BLOCKS:
                raise self.refuse(f"has interaction blocks {block}")
        if not 2 <= len(found) <= 3:
            raise self.refuse(f"has {len(found)} layers, expected 2 or 3")
        return [BLOCKS[block] for block in found]

    def _correlation(self, layer: int, l_max: int, last: bool) -> int:
        path = f"products.{layer}.symmetric_contractions"
        parts = self.within(path).children.get("contractions")
        if parts is None:
            raise self.refuse(
                f"has no contractions in {path} (the format of cuEquivariance, or of an unknown "
                "version)",
                "convert it first: mace_cueq_to_e3nn, of mace-torch",
            )
        orders = {
            sum(key.startswith("U_matrix_") for key in part.tensors)
            for part in parts.children.values()
        }
        if len(orders) != 1:
            raise self.refuse("has products of different orders in one layer")
        return orders.pop()

    def _neighbors(self, layer: int, block: Block) -> float:
        if block == "nonlinear":
            return self.number(f"interactions.{layer}.alpha")
        if "density" in block:
            return 1.0
        found = self.within(f"interactions.{layer}").attributes.get("avg_num_neighbors", "none")
        try:
            return float(np.asarray(found, dtype=np.float64).reshape(-1)[0])
        except (TypeError, ValueError, IndexError):
            raise ModelFileError(
                f"{self.name} does not state avg_num_neighbors of layer {layer + 1}"
            ) from None

    def _n_basis(self) -> int:
        kind = self.within("radial_embedding.bessel_fn").name
        if kind != "BesselBasis":
            raise self.refuse(f"has radial functions {kind}, expected BesselBasis")
        weights = np.asarray(self.state["radial_embedding.bessel_fn.bessel_weights"], np.float64)
        expected = np.arange(1, len(weights) + 1) * math.pi / self.number("r_max")
        if not np.allclose(weights, expected, rtol=1e-5, atol=0.0):
            raise self.refuse("has Bessel functions whose frequencies were trained")
        return len(weights)

    def _radial_hidden(self, blocks: Sequence[Block]) -> tuple[int, ...]:
        found = set()
        for k, block in enumerate(blocks):
            where = f"interactions.{k}.conv_tp_weights"
            sizes = self.within(where).attributes.get("hs")
            if not isinstance(sizes, list | tuple):
                raise ModelFileError(f"{self.name} does not state the sizes of {where}")
            found.add(tuple(int(n) for n in sizes[1:-1]))
            if block != "nonlinear":
                self._check_silu(f"{where}.layer0")
        if len(found) != 1:
            raise self.refuse("has radial networks of different sizes")
        return found.pop()

    def _check_silu(self, path: str) -> None:
        act = self.within(path).attributes.get("act")
        act = self.module.within(f"{path}.act") or act
        if act is None:
            return
        attributes = act.attributes if isinstance(act, Module) else act.state
        function = attributes.get("f") if isinstance(attributes, Mapping) else None
        if isinstance(function, Recorded) and function.name != "silu":
            raise self.refuse(f"has the activation {function.name} in {path}, expected silu")

    def _readouts(self, n_layers: int) -> tuple[int, bool, bool]:
        """Returns the hidden width for each head, whether it is biased, and the only one."""
        readouts = list(self.within("readouts").children.items())
        kinds = [m.name for _, m in readouts]
        if any(kind not in READOUTS for kind in kinds):
            raise self.refuse(f"has readouts {', '.join(kinds)}, expected {', '.join(READOUTS)}")
        n_heads = len(self.module.attributes.get("heads") or ["Default"])
        where, last = readouts[-1]
        if last.name == "LinearReadoutBlock" or len(readouts) not in (1, n_layers):
            raise self.refuse(f"has {len(readouts)} readouts, the last of kind {last.name}")
        self._check_silu(f"readouts.{where}.non_linearity.acts.0")
        for k, (m, l, p) in enumerate(self.irreps(f"readouts.{where}.linear_1", "irreps_out")):
            if k or (l, p) != (0, 1) or m % n_heads:
                raise self.refuse("has a readout whose hidden layer holds more than scalars")
            width = m // n_heads
        return width, last.name == "NonLinearBiasReadoutBlock", len(readouts) == 1

    def _radii(self, elements: Sequence[int]) -> tuple[float, ...]:
        tables = [key for key in self.state if key.endswith("covalent_radii")]
        table = np.asarray(self.state[tables[0]] if tables else covalent_radii, np.float64)
        for key in tables[1:]:
            if not np.array_equal(np.asarray(self.state[key], np.float64), table):
                raise self.refuse("has two different tables of covalent radii")
        return tuple(round(float(table[z]), 6) for z in elements)

    def _transform(self) -> DistanceTransform | None:
        found = self.within("radial_embedding").children.get("distance_transform")
        if found is None:
            return None
        kinds = {"AgnesiTransform": ("agnesi", "aqp"), "SoftTransform": ("soft", ["alpha"])}
        if found.name not in kinds:
            raise self.refuse(f"transforms distances by {found.name}")
        kind, names = kinds[found.name]
        where = "radial_embedding.distance_transform."
        missing = [k for k in names if where + k not in self.state]
        if missing:
            raise self.refuse(f"has a {found.name} of an older kind, without {missing[0]}")
        constants = {k: self.number(where + k) for k in names}
        return DistanceTransform(kind=kind, constants=constants)  # type: ignore[arg-type]

    def _repulsion(self) -> PairRepulsion | None:
        found = self.module.children.get("pair_repulsion_fn")
        if found is None:
            return None
        if found.name != "ZBLBasis":
            raise self.refuse(f"has a pair term {found.name}, expected ZBLBasis")
        coefficients = np.asarray(self.state["pair_repulsion_fn.c"], np.float64).reshape(-1)
        return PairRepulsion(
            power=round(self.number("pair_repulsion_fn.p")),
            coefficients=tuple(coefficients.tolist()),
            exponent=self.number("pair_repulsion_fn.a_exp"),
            prefactor=self.number("pair_repulsion_fn.a_prefactor"),
        )

    def _embeddings(self) -> tuple[StateEmbedding, ...]:
        if "joint_embedding" not in self.module.children:
            return ()
        specs = self.module.attributes.get("embedding_specs")
        if not isinstance(specs, Mapping) or not specs:
            raise ModelFileError(f"{self.name} does not state its embedding_specs")
        return tuple(self._embedding(str(key), spec) for key, spec in specs.items())

    def _embedding(self, quantity: str, spec: Mapping[str, Any]) -> StateEmbedding:
        if (
            quantity not in ("total_charge", "total_spin")
            or spec.get("type") != "categorical"
            or spec.get("per") != "graph"
        ):
            raise self.refuse(
                f"embeds {quantity!r} ({spec.get('type')}, per {spec.get('per')}), expected the "
                "total charge and multiplicity of a structure as categories"
            )
        return StateEmbedding(
            quantity=quantity,  # type: ignore[arg-type]
            classes=int(spec["num_classes"]),
            width=int(spec["emb_dim"]),
            offset=int(spec.get("offset", 0)),
        )


def _all(module: Module) -> list[Module]:
    return [module, *(inner for child in module.children.values() for inner in _all(child))]
