"""Tells the shipped models what they were trained on: python give.py MODEL... [--data DIR].

MODEL is tlpot-tiny, whose training frames ship with it, or tlpot-fragments, for which DIR holds
residues.h5 and pairs.h5 of sample.py. Weights and card stay as they are, byte by byte; a domain
that is there is replaced, and so is a checksum.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import safetensors.torch
from split import FRAGMENTS, TINY, fragment_frames, tiny_frames

from tlpot.files import atomic_file
from tlpot.models import library_file, load, weights_hash
from tlpot.uncertainty import fit_domain


def give(name: str, dataset, train, held) -> None:
    path = library_file(name)
    content = path.read_bytes()
    before = weights_hash(load(name, device="cpu"))
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    metadata.pop("tlpot-checksum", None)
    tensors = {k: t for k, t in safetensors.torch.load(content).items() if ".domain." not in k}
    model = load(name, device="cpu")
    for k, level in enumerate(model.levels):  # levels of one file share the network and its data
        domain = fit_domain(model.at(level), dataset, train, held)
        for key, tensor in domain.state_dict().items():
            tensors[f"heads.{k}.domain.{key}"] = tensor.contiguous()
    made = checked(safetensors.torch.save(tensors, metadata))
    with atomic_file(path) as temporary:
        temporary.write_bytes(made)
    assert weights_hash(load(name, device="cpu")) == before
    print(f"{name}: {len(train)} training and {len(held)} held-out frames; "
          f"{len(content):,} -> {len(made):,} bytes")  # fmt: skip


def checked(content: bytes) -> bytes:
    try:
        from tlpot.files import with_checksum
    except ImportError:
        return content
    return with_checksum(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", choices=(TINY, FRAGMENTS))
    parser.add_argument("--data", type=Path, help="for tlpot-fragments, see sample.py")
    options = parser.parse_args()
    if TINY in options.models:
        dataset, split = tiny_frames()
        give(TINY, dataset, split.train, split.validation)
    if FRAGMENTS in options.models:
        dataset, split = fragment_frames(options.data)
        give(FRAGMENTS, dataset, split.train, split.validation)


if __name__ == "__main__":
    main()
