"""TorchScript models: units, charges, derivatives, and what is refused."""

import io
import re
import warnings

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import molecule
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.units import Bohr, Hartree
from torch import Tensor, nn

from tlpot.calculators import named_calculator
from tlpot.data import open_dataset
from tlpot.engines import EngineSpec, LabelError, make_engine
from tlpot.errors import ConfigError, DataError, ModelFileError
from tlpot.labelling import LabelSettings, LabelTask, label, run_labels
from tlpot.labelling.task import engine_state, run_task
from tlpot.system import System


class AIMNet2(nn.Module):
    """With the inputs and outputs of the real one."""

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        energy = (data["coord"] ** 3).sum(dim=(1, 2)) * data["numbers"].sum(1) + data["charge"]
        return {"energy": energy, "aim": data["coord"][:, :, :2]}


class Springs(nn.Module):
    """Of AIMNet2's inputs and outputs, and another network."""

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"energy": (data["coord"] ** 2).sum(dim=(1, 2))}


class Scaled(nn.Module):
    """One network of an ensemble, with its forces, as the real one wraps them."""

    def __init__(self, module: nn.Module, factor: float) -> None:
        super().__init__()
        self.module, self.factor = module, factor

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        found = self.module(data)
        slopes = 3 * data["coord"] ** 2 * data["numbers"].sum(1)[:, None, None]
        return {"energy": found["energy"] * self.factor, "forces": -slopes * self.factor}


class EnsembledModel(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.models = nn.ModuleList([Scaled(module, 1.0), Scaled(module, 2.0)])

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        answers = [model(data) for model in self.models]
        found: dict[str, Tensor] = {}
        for key in ["energy", "forces"]:
            each = torch.stack([answer[key] for answer in answers])
            found[key], found[key + "_std"] = each.mean(0), each.std(0)
        return found


class Cell(nn.Module):
    """Springs between all atoms and to the sides of the cell, with names of its own."""

    def forward(self, r: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        differences = r[:, None] - r[None]
        energy = (differences**2).sum() + (h**2).sum() * z[0]
        return energy, r


class Detached(nn.Module):
    def forward(self, r: Tensor, z: Tensor) -> Tensor:
        return (r.detach() ** 2).sum()


class Pooled(nn.Module):
    """Features of the structure, as many as would make a whole number for each atom."""

    def forward(self, r: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return (r**2).sum(), torch.arange(4.0)[None]


CELL = {
    "inputs": {"r": "positions", "z": "numbers", "h": "cell"},
    "outputs": {"energy": 0, "descriptors": 1},
    "energy_unit": "Hartree", "length_unit": "Bohr", "batched": False, "dtype": "float64",
}  # fmt: skip
PLAIN = {"inputs": {"r": "positions", "z": "numbers"}, "batched": False, "dtype": "float64"}


@pytest.fixture
def saved(tmp_path):
    def save(module, description=None, **changes):
        path = tmp_path / "net.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.script(module).save(path)
        if description is not None:
            (tmp_path / "net.pt.yaml").write_text(yaml.safe_dump({**description, **changes}))
        return f"torch:{path}"

    return save


def compute(name, atoms, **wanted):
    made = make_engine(EngineSpec(name=name))
    return made.compute(
        System.from_atoms(atoms), **{"forces": True, "log": io.StringIO(), **wanted}
    )


def test_aimnet2_needs_no_description(saved, tmp_path):
    name, ion = saved(AIMNet2()), molecule("NH3")
    ion.info.update(charge=2, spin=1)
    found = compute(name, ion)
    assert found.energy == pytest.approx((ion.positions**3).sum() * 10 + 2.0, rel=1e-6)
    np.testing.assert_allclose(found.forces, -30 * ion.positions**2, rtol=1e-5, atol=1e-6)
    ion.calc = named_calculator(name)
    np.testing.assert_allclose(ion.calc.get_descriptors(ion), ion.positions[:, :2], atol=1e-6)
    label(ion, name, tmp_path / "a.h5", show=False)
    (level,) = open_dataset(tmp_path / "a.h5").levels.values()
    assert level.name == "aimnet2"
    assert "MIT" in level.definition
    assert "model_sha256" in level.definition


def test_an_ensemble_of_aimnet2_answers_with_its_mean(saved):
    one, atoms = compute(saved(AIMNet2()), molecule("NH3")), molecule("NH3")
    made = make_engine(EngineSpec(name=saved(EnsembledModel(AIMNet2()))))
    assert made.level == "aimnet2"
    system = System.from_atoms(atoms)
    found = made.compute(system, forces=True, log=io.StringIO())
    assert found.energy == pytest.approx(1.5 * one.energy, rel=1e-6)
    np.testing.assert_allclose(found.forces, 1.5 * one.forces, rtol=1e-5, atol=1e-6)
    both = made.compute_batch([system, system], forces=True, log=io.StringIO())
    for each in both:
        np.testing.assert_allclose(each.forces, found.forces, rtol=1e-6)
    assert made.compute(system, forces=False, log=io.StringIO()).energy == found.energy
    with pytest.raises(LabelError, match="names no output for descriptors"):
        made.descriptors(system, io.StringIO())


def test_an_ensemble_knows_how_far_its_networks_differ(saved, tmp_path):
    atoms = molecule("NH3")
    one = compute(saved(AIMNet2()), atoms)
    name = saved(EnsembledModel(AIMNet2()))
    atoms.calc = named_calculator(name)
    # of x and 2 x, with ddof = 1
    assert atoms.get_potential_energy() == pytest.approx(1.5 * one.energy, rel=1e-6)
    assert atoms.calc.results["energy_std"] == pytest.approx(abs(one.energy) / 2**0.5, rel=1e-6)
    deviations = atoms.calc.get_property("forces_std", atoms)
    np.testing.assert_allclose(deviations, np.abs(one.forces) / 2**0.5, rtol=1e-5, atol=1e-6)
    outputs = make_engine(EngineSpec(name=name)).definition["description"]["outputs"]
    assert outputs == {"energy": "energy", "forces": "forces"}
    label([atoms], name, tmp_path / "a.h5", show=False)
    assert set(open_dataset(tmp_path / "a.h5").levels) == {"aimnet2"}
    atoms.calc = named_calculator(saved(AIMNet2()))
    atoms.get_potential_energy()
    assert "energy_std" not in {*atoms.calc.results, *atoms.calc.implemented_properties}


def test_deviations_have_the_units_of_the_model(saved):
    inputs = {"coord": "positions", "numbers": "numbers", "charge": "charge"}
    outputs = {"energy": "energy", "forces": "forces", "energy_std": "energy_std"}
    described = {"inputs": inputs, "outputs": outputs, "energy_unit": "Hartree"}
    atoms = molecule("NH3")
    atoms.calc = named_calculator(saved(EnsembledModel(AIMNet2()), described))
    energy = atoms.get_potential_energy()
    results = atoms.calc.results
    assert results["energy_std"] == pytest.approx(abs(energy) / 1.5 / 2**0.5, rel=1e-6)
    assert "forces_std" not in results
    outputs["forces_std"] = "energy_std"
    atoms.calc = named_calculator(saved(EnsembledModel(AIMNet2()), described))
    with pytest.raises(LabelError, match="forces_std has shape"):
        atoms.get_potential_energy()


@pytest.mark.fault
def test_labels_of_another_network_are_told_by_what_differs(saved, tmp_path):
    """Both whole descriptions and two hashes of 64 digits were printed."""
    out, frames = tmp_path / "a.h5", [molecule("NH3"), molecule("CH4")]
    label(frames, saved(AIMNet2()), out, settings=LabelSettings(limit=1), show=False)
    with pytest.raises(DataError, match=r"description.outputs.forces: absent there") as refused:
        label(frames, saved(EnsembledModel(AIMNet2())), out, show=False)
    said = str(refused.value)
    assert "model_sha256" in said
    assert "length_unit" not in said
    assert not re.search(r"[0-9a-f]{20}", said)


@pytest.mark.fault
def test_an_ensemble_of_something_else_is_not_known(saved):
    with pytest.raises(ConfigError, match="not of a layout that is known"):
        make_engine(EngineSpec(name=saved(EnsembledModel(Springs()))))
    springs = Springs()
    springs.__class__ = type("EnsembledModel", (Springs,), {"__module__": Springs.__module__})
    with pytest.raises(ConfigError, match="not of a layout that is known"):
        make_engine(EngineSpec(name=saved(springs)))


def test_units_and_derivatives_by_the_cell(saved):
    atoms = Atoms(
        "CH", [[0, 0, 0.1], [0, 0.3, 1.2]], cell=[[5, 0, 1], [0, 6, 0], [1, 0, 7]], pbc=True
    )
    atoms.calc = named_calculator(saved(Cell(), CELL))
    r, h = atoms.positions / Bohr, atoms.cell.array / Bohr
    expected = 2 * ((r[0] - r[1]) ** 2).sum() + 6 * (h**2).sum()
    assert atoms.get_potential_energy() == pytest.approx(expected * Hartree, rel=1e-12)
    forces = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=1e-6, atol=1e-5)
    stress = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), stress, rtol=1e-6, atol=1e-6)
    assert atoms.calc.level == "net"
    np.testing.assert_allclose(atoms.calc.get_descriptors(atoms), r, atol=1e-12)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"inputs": {"r": "position", "z": "numbers"}}, "did you mean 'positions'"),
        ({"inputs": {"r": "positions"}}, "none of them is the numbers"),
        ({"inputs": {**PLAIN["inputs"], "q": "charge"}}, "takes r, z"),
        ({"outputs": {"enery": "e"}}, "did you mean 'energy'"),
        ({"energy_unit": "eV/atom"}, "energy_unit"),
        ({"elements": ["H", "Xx"]}, "'Xx' is the symbol of no element"),
        ({"licens": "MIT"}, "did you mean 'licence'"),
    ],
)
def test_a_description_that_cannot_be(saved, change, why):
    with pytest.raises(ConfigError, match=why):
        make_engine(EngineSpec(name=saved(Detached(), PLAIN, **change)))


@pytest.mark.fault
def test_what_the_model_cannot_do_is_refused(saved, tmp_path):
    name = saved(Detached(), PLAIN, elements=["H"])
    with pytest.raises(LabelError, match="cannot be derived"):
        compute(name, Atoms("H"))
    assert compute(name, Atoms("H", [[0, 0, 2]]), forces=False).energy == 4.0
    made = make_engine(EngineSpec(name=name))
    with pytest.raises(ConfigError, match="does not know C"):
        made.check([1, 6], periodic=False)
    with pytest.raises(ConfigError, match="takes no cell"):
        made.check([1], periodic=True)
    ion = Atoms("H")
    ion.info["charge"] = 1
    with pytest.raises(LabelError, match="charge 1, which net ignores"):
        compute(name, ion)
    with pytest.raises(LabelError, match="names no output for descriptors"):
        made.descriptors(System.from_atoms(Atoms("H2")), io.StringIO())


@pytest.mark.fault
def test_descriptors_that_are_not_of_atoms_are_not_cut_into_rows(saved):
    name = saved(Pooled(), {**PLAIN, "outputs": {"energy": 0, "descriptors": 1}})
    made = make_engine(EngineSpec(name=name))
    with pytest.raises(LabelError, match="one row for each"):
        made.descriptors(System.from_atoms(Atoms("H2")), io.StringIO())


@pytest.mark.fault
def test_stress_of_a_molecule(saved):
    with pytest.raises(LabelError, match="three lattice vectors"):
        compute(saved(Cell(), CELL), molecule("H2"), stress=True)


@pytest.mark.fault
def test_outputs_that_are_not_there(saved):
    with pytest.raises(LabelError, match="gives no 'e'"):
        compute(saved(AIMNet2(), {"inputs": {"coord": "positions", "numbers": "numbers",
                "charge": "charge"}, "outputs": {"energy": "e"}}), molecule("H2"))  # fmt: skip


@pytest.mark.fault
def test_files_that_are_no_models(saved, tmp_path):
    with pytest.raises(ConfigError, match="not of a layout that is known"):
        make_engine(EngineSpec(name=saved(Detached())))
    with pytest.raises(ModelFileError, match="cannot read"):
        make_engine(EngineSpec(name="torch:nowhere.jpt"))
    content = (tmp_path / "net.pt").read_bytes()
    (tmp_path / "net.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match="no TorchScript archive"):
        make_engine(EngineSpec(name=f"torch:{tmp_path / 'net.pt'}"))
    torch.save({"pickle": Cell()}, tmp_path / "pickle.pt")
    with pytest.raises(ModelFileError, match="no TorchScript archive"):
        make_engine(EngineSpec(name=f"torch:{tmp_path / 'pickle.pt'}"))


@pytest.mark.fault
def test_a_replaced_file_is_another_engine(saved):
    before = make_engine(EngineSpec(name=saved(Detached(), PLAIN)))
    after = make_engine(EngineSpec(name=saved(AIMNet2(), {"inputs": {"coord": "positions",
            "numbers": "numbers", "charge": "charge"}})))  # fmt: skip
    assert before.definition["model_sha256"] != after.definition["model_sha256"]


@pytest.mark.fault
def test_a_changed_description_is_another_engine(saved, tmp_path):
    """One that ``description=`` names was read once in a session."""
    other = tmp_path / "other.yaml"
    name = f"{saved(Detached())}(description={other})"
    for unit, factor in (("eV", 1.0), ("Hartree", Hartree)):
        other.write_text(yaml.safe_dump({**PLAIN, "energy_unit": unit}))
        found = compute(name, Atoms("H", [[0, 0, 2]]), forces=False)
        assert found.energy == pytest.approx(4 * factor)


@pytest.mark.fault
def test_a_model_that_is_replaced_while_it_labels_is_refused(saved):
    """The rest of the labels were the new one's, under the hash of the former."""
    engine = EngineSpec(name=saved(AIMNet2()))
    system = System.from_atoms(molecule("NH3"))
    state = engine_state(make_engine(engine))
    task = LabelTask(geometry="0", system=system, engine=engine, forces=True, state=state)
    assert run_task(task).error is None
    saved(EnsembledModel(AIMNet2()))
    with pytest.raises(ConfigError, match="not what it was"):
        run_task(task)


@pytest.mark.fault
def test_a_model_is_not_a_level_of_theory(saved):
    with pytest.raises(ConfigError, match="level of theory"):
        make_engine(EngineSpec(name=saved(AIMNet2()), level="wb97m-d3"))
    named = saved(Detached(), PLAIN, name="PBE")
    assert make_engine(EngineSpec(name=named)).level == "model-pbe"


class Mixed(nn.Module):
    """Structures of a batch that feel each other."""

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        energy = (data["coord"] ** 2).sum(dim=(1, 2))
        return {"energy": energy + 0.1 * energy.mean() * (len(energy) - 1)}


MIXED = {
    "inputs": {"coord": "positions", "numbers": "numbers"},
    "outputs": {"energy": "energy"}, "dtype": "float64",
}  # fmt: skip


def ions(n):
    frames = []
    for k in range(n):
        ion = molecule("NH3")
        ion.rattle(0.1, seed=k)
        ion.info.update(charge=2 * (k % 2), spin=1)
        frames.append(ion)
    return frames


def test_a_batch_has_the_energies_and_forces_of_each_and_its_own_charges(saved):
    made = make_engine(EngineSpec(name=saved(AIMNet2())))
    systems = [System.from_atoms(ion) for ion in ions(5)]
    found = made.compute_batch(systems, forces=True, log=io.StringIO())
    assert len(found) == 5
    for system, each in zip(systems, found, strict=True):
        alone = made.compute(system, forces=True, log=io.StringIO())
        assert each.energy == pytest.approx(alone.energy, rel=1e-5)
        np.testing.assert_allclose(each.forces, alone.forces, rtol=1e-4, atol=1e-5)
    bare = made.compute_batch(systems[:2], forces=False, log=io.StringIO())
    assert [each.forces for each in bare] == [None, None]


def test_a_model_that_mixes_the_structures_of_a_batch_is_found_out(saved):
    made = make_engine(EngineSpec(name=saved(Mixed(), MIXED)))
    systems = [System.from_atoms(molecule("NH3")) for _ in range(3)]
    with pytest.raises(ConfigError, match="in a batch than alone"):
        made.compute_batch(systems, forces=True, log=io.StringIO())


def test_a_model_without_a_dimension_for_structures_takes_no_batches(saved, tmp_path):
    assert not make_engine(EngineSpec(name=saved(Detached(), PLAIN))).takes_batches
    with pytest.raises(ConfigError, match="one structure at a time"):
        label(ions(2), saved(Detached(), PLAIN), tmp_path / "a.h5", show=False,
              settings=LabelSettings(batch=2))  # fmt: skip


def test_labels_in_batches_by_number_of_atoms(saved, tmp_path):
    name = saved(AIMNet2())
    water = [molecule("H2O") for _ in range(3)]
    for k, atoms in enumerate(water):
        atoms.rattle(0.05, seed=k)
    frames = [*ions(3), *water, molecule("CH4")]
    settings = LabelSettings(batch=2)
    report = label(frames, name, tmp_path / "a.h5", settings=settings, show=False)
    assert report.n_labelled == 7
    label(frames, name, tmp_path / "b.h5", show=False)
    one, other = (
        list(open_dataset(tmp_path / f"{x}.h5").read(range(7))) for x in ("a", "b")
    )  # fmt: skip
    for a, b in zip(one, other, strict=True):
        assert a.labels["aimnet2"].energy == pytest.approx(b.labels["aimnet2"].energy, rel=1e-5)
        np.testing.assert_allclose(a.labels["aimnet2"].forces, b.labels["aimnet2"].forces,
                                   rtol=1e-4, atol=1e-5)  # fmt: skip


def test_one_of_a_batch_that_cannot_be_labelled_fails_alone(saved, tmp_path):
    frames = ions(4)
    frames[2].info["charge"] = 1  # an odd number of electrons, said to be a singlet
    for frame in frames:
        frame.info["spin"] = 1
    systems = [System.from_atoms(frame) for frame in frames]
    spec = EngineSpec(name=saved(AIMNet2()))
    given = [
        LabelTask(geometry=str(k), system=system, engine=spec, forces=True)
        for k, system in enumerate(systems)
    ]
    found = {task.geometry: outcome for task, outcome in run_labels(given, batch=4)}
    assert [k for k, outcome in found.items() if outcome.error] == ["2"]
    assert "electrons" in found["2"].error
