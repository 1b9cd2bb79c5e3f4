"""Imported models give what mace-torch gave, to rounding, in every family and version."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

import tlpot
from tlpot.energy import evaluate
from tlpot.errors import ConfigError, ModelFileError, OutputError
from tlpot.graph import build_graph
from tlpot.models import import_mace, load, weights_hash
from tlpot.models.mace.importing import check_physics
from tlpot.system import System

HERE = Path(__file__).parent
MODELS = sorted(path.stem for path in HERE.glob("*.model"))


def reference(name):
    with np.load(HERE / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def structures(data):
    for k in range(int(data["n"])):
        atoms = Atoms(
            data[f"numbers_{k}"], data[f"positions_{k}"], cell=data[f"cell_{k}"],
            pbc=data[f"pbc_{k}"],
            info={"charge": int(data[f"charge_{k}"]), "spin": int(data[f"spin_{k}"])},
        )  # fmt: skip
        yield k, atoms


def largest_errors(found, data):
    """Largest relative errors of energies without E0, forces and stress; mace's own in float32."""
    errors = {"energy": 0.0, "forces": 0.0, "stress": 0.0, "own": 0.0}
    for level, head in found.taken.items():
        model = found.potential.at(level)
        e0 = found.potential.references(level)
        for k, atoms in structures(data):
            graph = build_graph([System.from_atoms(atoms)], model.cutoff, layout=model.layout)
            periodic = bool(atoms.pbc.all())
            got = evaluate(model, graph, stress=periodic)
            energy, forces = float(data[f"{head}/energy_{k}"]), data[f"{head}/forces_{k}"]
            inner = max(abs(energy - sum(e0[z] for z in atoms.numbers)), 0.1)
            errors["energy"] = max(errors["energy"], abs(float(got.energy[0]) - energy) / inner)
            size = max(np.abs(forces).max(), 0.1)
            errors["forces"] = max(
                errors["forces"], np.abs(got.forces.numpy() - forces).max() / size
            )
            single = data.get(f"single/{head}/forces_{k}")
            if single is not None:
                errors["own"] = max(errors["own"], np.abs(single - forces).max() / size)
            if periodic:
                xx, yy, zz, yz, xz, xy = data[f"{head}/stress_{k}"]
                stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
                off = np.abs(got.stress[0].numpy() - stress).max() / np.abs(stress).max()
                errors["stress"] = max(errors["stress"], off)
    return errors


@pytest.mark.parametrize("kernels", ["compiled", "torch"])
@pytest.mark.parametrize("name", MODELS)
def test_energies_forces_and_stress_are_those_of_mace_torch(name, kernels):
    data = reference(name)
    found = import_mace(HERE / f"{name}.model", kernels=kernels)
    errors = largest_errors(found, data)
    assert errors["energy"] < 1e-10
    assert errors["forces"] < 1e-12
    assert errors["stress"] < 1e-12


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("mh")])
def test_single_precision_is_as_good_as_mace_torchs_own(name):
    errors = largest_errors(
        import_mace(HERE / f"{name}.model", dtype=torch.float32), reference(name)
    )
    assert errors["forces"] < 2.0 * errors["own"]


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_import_gives_the_same_bits(name, tmp_path):
    path = tmp_path / "mace.safetensors"
    found = tlpot.import_model(HERE / f"{name}.model", output=path)
    again = load(path)
    assert weights_hash(again) == weights_hash(found.potential)
    level = next(iter(found.taken))
    for _, atoms in structures(reference(name)):
        energies = [
            evaluate(
                model.at(level),
                build_graph([System.from_atoms(atoms)], model.cutoff, layout=model.layout),
            ).energies
            for model in (found.potential, again)
        ]
        assert torch.equal(*energies)


def test_a_part_of_the_elements_gives_the_same_energies():
    data = reference("omol-0.3.16")
    whole = import_mace(HERE / "omol-0.3.16.model")
    part = import_mace(HERE / "omol-0.3.16.model", elements=[1, 6, 8])
    assert part.left_out == ["N"]
    assert sum(p.numel() for p in part.potential.parameters()) < sum(
        p.numel() for p in whole.potential.parameters()
    )
    _, atoms = next(structures(data))
    energies = []
    for found in (whole, part):
        model = found.potential.at()
        graph = build_graph([System.from_atoms(atoms)], model.cutoff, layout=model.layout)
        energies.append(float(evaluate(model, graph).energy[0]))
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)


def test_heads_become_levels_by_name():
    path = HERE / "heads-0.3.10.model"
    assert import_mace(path).potential.levels == ("heads-0.3.10/dft", "heads-0.3.10/cc")
    named = import_mace(path, levels={"cc": "CCSD(T)/CBS"})
    assert named.potential.levels == ("heads-0.3.10/dft", "ccsd(t)/cbs")
    assert import_mace(path, heads=["cc"], levels="ccsd(t)/cbs").potential.levels == (
        "ccsd(t)/cbs",
    )


def test_test_vectors_are_compared(tmp_path):
    data = reference("heads-0.3.10")
    good = tlpot.import_model(HERE / "heads-0.3.10.model", check=HERE / "heads-0.3.10.npz")
    assert 0.0 < good.vectors["forces"] < 1e-12
    data["cc/forces_0"] = data["cc/forces_0"] + 1e-3
    np.savez(tmp_path / "other.npz", **data)
    output = tmp_path / "mace.safetensors"
    with pytest.raises(ModelFileError, match=r"other\.npz"):
        tlpot.import_model(HERE / "heads-0.3.10.model", check=tmp_path / "other.npz", output=output)
    assert not output.exists()


def test_the_licence_of_a_published_model_is_said_and_kept(tmp_path):
    path = tmp_path / "MACE-OFF23_small.model"
    path.write_bytes((HERE / "off-0.3.16.model").read_bytes())
    found = tlpot.import_model(path)
    assert "NOT FOR COMMERCIAL USE" in found.text()
    assert "NOT FOR COMMERCIAL USE" in found.potential.card.lineage_licence
    own = tlpot.import_model(path, licence="CC0")
    assert "licence: CC0\n" in own.text() + "\n"
    assert own.potential.card.origin["sha256"]


@pytest.mark.fault
def test_an_unknown_head_or_element_is_named():
    path = HERE / "heads-0.3.10.model"
    with pytest.raises(ConfigError, match="ccc"):
        import_mace(path, heads=["ccc"])
    with pytest.raises(ConfigError, match="Fe"):
        import_mace(path, elements=[26])
    with pytest.raises(ConfigError, match="2 heads"):
        import_mace(path, levels="ccsd(t)/cbs")


@pytest.mark.fault
def test_a_file_that_is_there_is_not_replaced(tmp_path):
    output = tmp_path / "mace.safetensors"
    output.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        tlpot.import_model(HERE / "mp-0.3.6.model", output=output)
    assert output.read_text() == "mine"


@pytest.mark.fault
def test_charges_that_the_model_has_no_row_for_are_refused():
    model = import_mace(HERE / "omol-0.3.16.model").potential.at()
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], info={"charge": 9, "spin": 1})
    graph = build_graph([System.from_atoms(atoms)], model.cutoff, layout=model.layout)
    with pytest.raises(tlpot.errors.GeometryError, match="total charge"):
        evaluate(model, graph)


@pytest.mark.fault
def test_a_model_that_gives_nan_fails_its_checks():
    potential = import_mace(HERE / "off-0.3.16.model").potential
    with torch.no_grad():
        potential.heads[0].readout.mlp.layers[-1].weight[0] = torch.nan
    with pytest.raises(ModelFileError, match="symmetry"):
        check_physics(potential)


@pytest.mark.fault
def test_vectors_with_nan_or_without_a_head_are_no_agreement(tmp_path):
    data = reference("heads-0.3.10")
    np.savez(tmp_path / "nan.npz", **{**data, "cc/energy_0": np.nan})
    np.savez(tmp_path / "one.npz", **{k: v for k, v in data.items() if not k.startswith("cc/")})
    for name, term in (("nan", "nan"), ("one", "'cc'")):
        with pytest.raises(ModelFileError, match=term):
            import_mace(HERE / "heads-0.3.10.model", vectors=tmp_path / f"{name}.npz")


@pytest.mark.fault
@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("mace-mp-0-medium", "MIT"),
        ("2023-12-03-mace-128-L1_epoch-199", "MIT"),
        ("mace-mp-finetuned-water", "not stated"),
        ("mace-mp-omat-ft", "not stated"),
        ("my-mace", "not stated"),
    ],
)
def test_a_permissive_licence_needs_the_whole_name_of_a_published_file(tmp_path, name, licence):
    path = tmp_path / f"{name}.model"
    path.write_bytes((HERE / "mp-0.3.6.model").read_bytes())
    assert import_mace(path).potential.card.licence == licence
