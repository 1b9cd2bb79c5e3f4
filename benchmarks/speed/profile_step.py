"""Where the time of a step goes: python benchmarks/speed/profile_step.py --data DIR.

For each preset, with compiled kernels and with torch: time, number of torch operations, their
floating-point operations, those of the compiled kernels (counted from their tables: two for
each multiply-add), and the floor that follows from the rate of a large matrix product on this
machine. DIR holds 3bpa/train_300K.xyz (https://github.com/davkovacs/BOTNet-datasets).
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from ase.io import read
from contest import check_idle, processor
from torch.utils._python_dispatch import TorchDispatchMode

from tlpot.energy import evaluate
from tlpot.graph import AtomGraph, build_graph
from tlpot.models import Potential, preset
from tlpot.system import System

DUAL = 2
"""Multiply-adds of a kernel that carries a perturbation, for each of its plain ones."""


PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default, torch.ops.aten.bmm.out)


class Count(TorchDispatchMode):
    """Counts torch operations that compute something, and those of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.n_ops, self.flops = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.n_ops += 1
        if func in PRODUCTS:
            self.flops += 2 * args[0].numel() * args[1].shape[-1]
        return out


def peak_rate() -> float:
    """Floating-point operations a second of a large matrix product."""
    a = torch.randn(1024, 1024)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - started)
    return 2 * 1024**3 / min(times)


def kernel_flops(potential: Potential, graph: AtomGraph, training: bool) -> float:
    """Multiply-adds of neighbour sums and products, times two.

    Forward 1, forces 3 for a neighbour sum (by harmonics, weights, senders) and 2 for a product;
    a training step adds as many again and the dual passes. Sums by element are forward 1 and
    forces 2, and a training step adds 6, without dual passes.
    """
    edges = potential.backbone.edges(replace(graph, first_order=not training), potential.dtype)
    total = 0
    for layer, interaction in enumerate(potential.backbone.interactions):
        convolution, product = interaction.convolution, interaction.product
        couplings = sum(convolution.angular_sizes) * graph.n_edges
        terms = 2 * len(product.plan.order) * product.n_channels * graph.n_atoms
        total += 3 * terms
        if layer == 0 and convolution.prefers_elements(len(potential.elements), edges):
            total += (9 if training else 3) * couplings * convolution.radial.n_hidden
        else:
            passes = 4 + (3 + 4 * DUAL if training else 0)
            total += passes * couplings * convolution.n_channels
        if training:
            total += (2 + 3 * DUAL) * terms
    return 2.0 * total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{processor()}, {options.threads} thread(s)")
    check_idle()
    peak = peak_rate()
    print(f"large matrix product: {peak / 1e9:.0f} GFLOP/s")
    frames = read(Path(options.data) / "3bpa" / "train_300K.xyz", ":5")
    references = dict.fromkeys((1, 6, 7, 8), 0.0)
    columns = ("step", "kernels", "ms", "torch ops", "matmul MFLOP", "kernel MFLOP", "floor ms")
    print("{:8}{:28}{:>10}{:>8}{:>11}{:>14}{:>14}{:>10}".format("preset", *columns))
    for name in ("tiny", "small", "medium"):
        for n_frames, training in ((1, False), (5, True)):
            for kernels in ("compiled", "torch"):
                potential = Potential.create(
                    preset(name, tuple(references)), {"random": references}, kernels=kernels
                )
                potential.requires_grad_(training)
                systems = [System.from_atoms(a) for a in frames[:n_frames]]
                graph = build_graph(systems, potential.cutoff, layout=potential.layout)
                model = potential.at()

                def step(model=model, graph=graph, training=training) -> None:
                    found = evaluate(model, graph, create_graph=training)
                    if training:
                        (found.energy.square().sum() + found.forces.square().sum()).backward()

                times = []
                for _ in range(options.repeats + 5):
                    started = time.perf_counter()
                    step()
                    times.append(time.perf_counter() - started)
                with Count() as count:
                    step()
                matmul, own = count.flops, 0.0
                if kernels == "compiled":
                    own = kernel_flops(potential, graph, training)
                label = f"{'training 5 x 27' if training else 'E and F of 27 atoms'}"
                median = 1e3 * np.median(times[5:])
                print(
                    f"{name:8}{label:28}{kernels:>10}{median:>8.2f}{count.n_ops:>11}"
                    f"{matmul / 1e6:>14.0f}{own / 1e6:>14.0f}{1e3 * (matmul + own) / peak:>10.2f}"
                )


if __name__ == "__main__":
    main()
