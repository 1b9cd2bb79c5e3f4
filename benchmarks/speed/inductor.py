"""The other way to compile: python benchmarks/speed/inductor.py --data DIR.

A whole training step (energy, forces, loss, gradients of all weights) of the torch
implementation, traced by make_fx and compiled by inductor for fixed shapes, against the eager
torch implementation and tlpot's compiled kernels, all on 5 x 27 atoms of 3BPA with 64 channels.
DIR holds 3bpa/train_300K.xyz (https://github.com/davkovacs/BOTNet-datasets).
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
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from tlpot.graph import build_graph
from tlpot.models import Potential, preset
from tlpot.system import System


def median(call, repeats: int) -> float:
    times = []
    for _ in range(repeats + 3):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(1e3 * np.median(times[3:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("TLPOT_DATA"))
    parser.add_argument("--l-max", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(processor())
    check_idle()
    frames = read(Path(options.data) / "3bpa" / "train_300K.xyz", ":5")
    references = dict.fromkeys((1, 6, 7, 8), 0.0)
    architecture = preset(
        "tiny", tuple(references), hidden_irreps="64x0e+64x1o", l_max=options.l_max, cutoff=5.0
    )

    def potential(kernels: str) -> Potential:
        return Potential.create(architecture, {"random": references}, kernels=kernels)

    def step_of(model: Potential, layout: str):
        """Returns a function of tensors alone, and these."""
        graph = build_graph([System.from_atoms(a) for a in frames], model.cutoff, layout=layout)
        species = model.species(graph.atomic_numbers)
        network = torch.nn.ModuleDict({"backbone": model.backbone, "head": model.heads[0].readout})
        names = [n for n, _ in network.named_parameters()]

        class Energies(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, positions):
                scalars, _ = self.network["backbone"](replace(graph, positions=positions), species)
                return self.network["head"](scalars).double()

        energies = Energies()

        def step(positions, *weights):
            positions = positions.detach().requires_grad_(True)
            weights = [w.detach().requires_grad_(True) for w in weights]
            named = {f"network.{n}": w for n, w in zip(names, weights, strict=True)}
            energy = functional_call(energies, named, (positions,)).sum()
            (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
            loss = 1e-6 * energy.square() + gradient.square().sum()
            return [loss.detach(), *torch.autograd.grad(loss, weights)]

        return step, (graph.positions, *(w.detach() for w in network.parameters()))

    torch.manual_seed(0)
    model = potential("torch").requires_grad_(False)
    step, tensors = step_of(model, "padded")
    print(f"torch, eager: {median(lambda: step(*tensors), options.repeats):.1f} ms")
    expected = step(*tensors)
    started = time.perf_counter()
    traced = make_fx(step)(*tensors)
    with torch.no_grad():
        compiled = torch.compile(traced, dynamic=False)
        found = compiled(*tensors)
        seconds = time.perf_counter() - started
        worst = max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))
        spent = median(lambda: compiled(*tensors), options.repeats)
    print(f"torch, inductor: {spent:.1f} ms after {seconds:.0f} s of compiling; ", end="")
    print(f"gradients differ by {worst:.0e}")
    own, tensors = step_of(potential("compiled").requires_grad_(False), "sorted")
    print(f"compiled kernels: {median(lambda: own(*tensors), options.repeats):.1f} ms")


if __name__ == "__main__":
    main()
