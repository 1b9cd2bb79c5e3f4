"""Features of a dataset, summed over the atoms of each element, and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open

from tlpot.config import to_mapping
from tlpot.data import Dataset, evaluation_batches
from tlpot.files import atomic_file, make_folder
from tlpot.graph import segment_sum
from tlpot.models import KNOWN, LevelPotential, pool_features
from tlpot.numbers import Floats, Ints

_FORMAT = "tlpot-features"
_VERSION = 1
_SHUT = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class PooledFeatures:
    """Features of some frames, summed over the atoms of each element.

    Attributes:
        sums: [n_frames, n_elements, n_features]; elements as the potential orders them. Of a
            property there is one kind of atom in their place, and means where it is intensive.
        squares: [n_elements, n_features], sums of squares over all atoms of all frames; over the
            frames for a property.
        counts: [n_frames, n_elements], atoms; 1 for a property.
    """

    sums: Floats
    squares: Floats
    counts: Floats

    @property
    def rows(self) -> Floats:
        """One row for each frame, [n_frames, n_elements · n_features]."""
        return self.sums.reshape(len(self.sums), -1)

    def scale(self) -> Floats:
        """Returns the standard deviation over the atoms of each element, [n_elements, n_features].

        It is infinite for a feature that does not vary, or by nothing beside the others as a
        hidden unit that is shut for good, so that dividing by it removes the feature.
        """
        n_atoms = np.maximum(self.counts.sum(axis=0), 1.0)[:, None]
        mean_square = self.squares / n_atoms
        variance = mean_square - (self.sums.sum(axis=0) / n_atoms) ** 2
        # what is left of a constant after the cancellation is rounding
        varies = variance > 1e-12 * np.maximum(mean_square, 1e-300)
        varies &= variance > _SHUT**2 * variance.max(axis=1, keepdims=True)
        return np.where(varies, np.sqrt(np.where(varies, variance, 1.0)), np.inf)


def pooled_features(
    model: LevelPotential,
    dataset: Dataset,
    indices: Sequence[int] | Ints,
    blocks: Sequence[str],
    *,
    cache: Path | None = None,
    batch_size: int = 64,
) -> PooledFeatures:
    """Evaluates pooled features, or reads them if they have been evaluated before.

    A file of the cache is named by a hash of the weights that the features depend on, of the
    dataset, of the frames and of the block. It is believed only if its content has the hash
    that it states; else it is made anew: unlike what `tlpot.stored_results` keeps, nothing is
    lost with it.

    Args:
        model: a potential at one level.
        dataset: geometries.
        indices: which of them.
        blocks: see `tlpot.models.feature_blocks`.
        cache: folder; None to keep nothing.
        batch_size: frames at a time.

    Raises:
        DataError: there are no frames.
        UnknownElementError: an element that the potential does not know.
        GeometryError: a structure is unusable, or has a charge that the potential ignores.
        OutputError: the cache cannot be written.
    """
    chosen = np.asarray(indices, dtype=np.int64)
    n_elements = model.n_kinds
    sizes = model.block_sizes(blocks)
    keys = {block: _key(model, dataset, chosen, block) for block in blocks}
    found: dict[str, PooledFeatures] = {}
    if cache is not None:
        for block, key in keys.items():
            shape = (len(chosen), n_elements, sizes[block])
            stored = _read(cache / f"{key}.safetensors", key, shape)
            if stored is not None:
                found[block] = stored
    missing = [block for block in blocks if block not in found]
    if missing:
        fresh = _evaluate(model, dataset, chosen, missing, batch_size)
        cuts = np.cumsum([sizes[block] for block in missing])[:-1]
        parts = zip(
            missing,
            np.split(fresh.sums, cuts, axis=2),
            np.split(fresh.squares, cuts, axis=1),
            strict=True,
        )
        for block, sums, squares in parts:
            found[block] = PooledFeatures(sums=sums, squares=squares, counts=fresh.counts)
            if cache is not None:
                _write(cache / f"{keys[block]}.safetensors", keys[block], found[block])
    return PooledFeatures(
        sums=np.concatenate([found[block].sums for block in blocks], axis=2),
        squares=np.concatenate([found[block].squares for block in blocks], axis=1),
        counts=found[blocks[0]].counts,
    )


@torch.no_grad()
def _evaluate(
    model: LevelPotential,
    dataset: Dataset,
    indices: Ints,
    blocks: Sequence[str],
    batch_size: int,
) -> PooledFeatures:
    potential, n_elements = model.potential, model.n_kinds
    order = np.argsort(dataset.sizes[indices], kind="stable")
    sums, squares, counts = [], torch.zeros(()), []
    for batch in evaluation_batches(
        model, dataset, indices[order], (), device=potential.device, batch_size=batch_size,
        show="features",
    ):  # fmt: skip
        graph = batch.graph
        species, scalars, _ = model.invariants(graph)
        features, kinds = model.regressor_inputs(graph, species, scalars, blocks)
        where = (kinds, graph.system_idx, graph.n_systems, n_elements)
        pooled = pool_features(features, *where)
        sums.append(pooled.cpu())
        if model.target is not None:  # what varies is the structure, however many atoms it has
            counts.append(features.new_ones((graph.n_systems, 1)).cpu())
            squares = squares + pooled.square().sum(dim=0).cpu()
            continue
        ones = features.new_ones((graph.n_atoms, 1))
        counts.append(pool_features(ones, *where)[:, :, 0].cpu())
        squares = squares + segment_sum(features.square(), kinds, n_elements).cpu()
    back = np.argsort(order)
    return PooledFeatures(
        sums=torch.cat(sums).numpy()[back],
        squares=squares.numpy(),
        counts=torch.cat(counts).numpy()[back],
    )


def _key(model: LevelPotential, dataset: Dataset, indices: Ints, block: str) -> str:
    potential = model.potential
    weights = {f"backbone.{k}": v for k, v in potential.backbone.state_dict().items()}
    if block == "readout":
        readout = potential.head(model.level).readout
        weights |= {f"readout.{k}": v for k, v in readout.state_dict().items()}
    description = [
        _VERSION, to_mapping(potential.architecture), str(potential.dtype), dataset.content_hash,
        block, sorted(weights),
    ]  # fmt: skip
    if model.target is not None:
        description.append(model.target.pooling)
        if block == KNOWN and model.target.known is not None:
            description += [model.target.known.level, model.target.known.logarithm]
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    digest.update(indices.astype("<i8").tobytes())
    return digest.hexdigest()


def _digest(tensors: Mapping[str, Floats]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[name], dtype="<f8").tobytes())
    return digest.hexdigest()


def _read(path: Path, key: str, shape: tuple[int, int, int]) -> PooledFeatures | None:
    """Returns what the file holds, or None if there is none or it is not what it should be."""
    try:
        with safe_open(path, "numpy") as handle:
            stated = json.loads((handle.metadata() or {}).get(_FORMAT, "{}"))
        tensors = safetensors.numpy.load_file(path)
        made = PooledFeatures(**tensors)
    except (OSError, SafetensorError, ValueError, TypeError):
        return None
    shapes = (made.sums.shape, made.squares.shape, made.counts.shape)
    if shapes != (shape, shape[1:], shape[:2]):
        return None
    return made if stated == {"key": key, "sha256": _digest(tensors)} else None


def _write(path: Path, key: str, made: PooledFeatures) -> None:
    tensors = {
        name: np.ascontiguousarray(getattr(made, name)) for name in ("sums", "squares", "counts")
    }
    stated = json.dumps({"key": key, "sha256": _digest(tensors)})
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(tensors, {_FORMAT: stated}))
