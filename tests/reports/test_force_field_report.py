"""The report on a force field: what is measured, what is said, and what is left out."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from synthetic_curves import synthetic_curve, synthetic_series
from toys import ToyModel

from tlpot.calculators import FragmentMethod, TLPotCalculator
from tlpot.data import NeutralDataset, add_level, open_dataset
from tlpot.dynamics import MDSettings, simulate
from tlpot.energy import evaluate
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.fragments import ProteinFrames, choose_scheme, export_fragments
from tlpot.graph import build_graph
from tlpot.models import LIBRARY, load, save
from tlpot.numbers import short
from tlpot.reports import (
    CostRow,
    Evidence,
    ExaminationSettings,
    ForceFieldModels,
    ForceFieldReport,
    LabelledFragments,
    compare_angles,
    data_used,
    error_text,
    examine_force_field,
    measure_stage,
    model_chain,
    write_report,
)
from tlpot.reports.kind_errors import HOLISTIC
from tlpot.reports.page import CHAPTERS
from tlpot.reports.pictures import parity_figure
from tlpot.reports.provenance import fragment_names, kind_names
from tlpot.reports.ramachandran import overlap
from tlpot.structures import build_peptide
from tlpot.system import System
from tlpot.topology import perceive_topology

LOW, XTB = "wb97x/6-31g*", "gfn2-xtb"
SHORT = ExaminationSettings(nve_steps=6, langevin_steps=20, reference_steps=20, log_every=2)


class _Page(HTMLParser):
    """Collects the tags of a page, and checks that they close."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.ids = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.links += [values[k] for k in ("src", "href") if k in values]
        self.ids += [values["id"]] if "id" in values else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two molecules of the shipped data."""
    path = tmp_path_factory.mktemp("data") / "two.h5"
    with h5py.File(LIBRARY / "tlpot-qm.h5") as source, h5py.File(path, "w") as target:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        for name in ("methanol", "water"):
            source.copy(name, target)
    return open_dataset([path])


@pytest.fixture(scope="module")
def dipeptide():
    atoms = build_peptide("A", phi=-80.0, psi=80.0)
    other = atoms.copy()
    other.positions += 0.03 * np.random.default_rng(0).normal(size=other.positions.shape)
    return [atoms, other]


@pytest.fixture(scope="module")
def report(data, dipeptide):
    """Everything but a learning curve; the toy potential stands in for the reference."""
    return examine_force_field(
        ForceFieldModels(model="tlpot-tiny"),
        {"ala": dipeptide},
        reference=ToyModel(),
        settings=SHORT,
        device="cpu",
        method=FragmentMethod(scheme="mfcc"),
        fragments=LabelledFragments(dataset=data),
        evidence=Evidence(more_cost=[CostRow(what="training", count=1, total_seconds=90.0)]),
    )


@pytest.fixture(scope="module")
def files(report, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("written") / "out", report)


def test_a_page_stands_alone_and_has_every_section(files):
    page = _Page(files.page.read_text(encoding="utf-8"))
    assert page.open == []
    assert "script" not in page.tags
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert page.ids == list(CHAPTERS)
    assert {link[1:] for link in page.links if link.startswith("#")} == set(CHAPTERS)
    assert page.tags.count("img") == 4  # parity, budget, dynamics, Ramachandran
    assert sorted(p.name for p in files.page.parent.iterdir()) == [
        "force_field.html",
        "force_field.json",
    ]


def test_the_numbers_of_the_page_are_in_the_json(report, files):
    numbers = json.loads(files.numbers.read_text(encoding="utf-8"))
    stage = numbers["errors"][0]
    assert stage["holistic"]["force_rmse"] == report.stages[0].total.force_rmse
    assert f"{stage['holistic']['force_rmse']:.3g}" in files.page.read_text(encoding="utf-8")
    assert numbers["assembly"][0]["parts"].keys() == report.budgets[0].budget.parts.keys()
    assert [m["ensemble"] for m in numbers["dynamics"]] == ["nve", "langevin", "langevin"]
    assert numbers["learning_curve"] is None
    assert numbers["cost"][0]["total_seconds"] == 90.0
    assert numbers["provenance"]["models"][0]["source"] == "tlpot-tiny"


def test_an_empty_report_makes_nothing_up(tmp_path):
    files = write_report(tmp_path, ForceFieldReport(title="nothing & <more>"))
    text = files.page.read_text(encoding="utf-8")
    assert text.count("Not asked for; tlpot report needs") == len(CHAPTERS)
    assert "img" not in _Page(text).tags
    assert "nothing &amp; &lt;more&gt;" in text
    numbers = json.loads(files.numbers.read_text(encoding="utf-8"))
    sections = {k: v for k, v in numbers.items() if k not in ("format", "format_version")}
    assert not any(v for k, v in sections.items() if k != "title")


def test_names_from_files_cannot_break_the_page(report, tmp_path):
    wild = "<script>alert('x')</script>"
    rows = tuple(replace(row, kind=wild, source=wild) for row in report.data)
    bad = ForceFieldReport(title=wild, data=rows, skipped={"curve": wild})
    page = _Page(write_report(tmp_path, bad).page.read_text(encoding="utf-8"))
    assert "script" not in page.tags


def test_the_same_report_gives_the_same_page(report, tmp_path):
    small = replace(report, stages=(), budgets=(), ramachandran=())
    first, second = (write_report(tmp_path / name, small) for name in "ab")
    assert first.page.read_bytes() == second.page.read_bytes()
    assert first.numbers.read_bytes() == second.numbers.read_bytes()


def test_a_learning_curve_is_shown_with_its_errors(tmp_path):
    curve = synthetic_curve(synthetic_series("full", lambda n: 300.0 / n**0.5))
    found = ForceFieldReport(title="t", curve=curve)
    text = write_report(tmp_path, found).page.read_text(encoding="utf-8")
    page = _Page(text)
    assert page.tags.count("img") == 1
    (mean,) = [np.mean(m.errors) for m in curve.series[0].measured("energy_mae")
               if m.sizes == (100,)]  # fmt: skip
    assert f"<td>{short(mean)}</td>" in text
    empty = replace(curve, series=())
    text = write_report(tmp_path, replace(found, curve=empty)).page.read_text(encoding="utf-8")
    assert "has no points yet" in text


def test_kinds_of_a_fragment_file_have_their_names_and_sources(tmp_path):
    peptides = [ProteinFrames(name=n, frames=[build_peptide(n)]) for n in ("AG", "AA")]
    path = tmp_path / "fragments.h5"
    export_fragments(peptides, choose_scheme("mfcc"), path)
    with h5py.File(path) as handle:
        rows = {key: np.arange(len(group["coordinates"])) for key, group in
                handle["fragments"].items()}  # fmt: skip
    add_level(path, "toy", {key: (k, -1.0 - k, None) for key, k in rows.items()})
    dataset = open_dataset([path])
    plain, shown = fragment_names(dataset), kind_names(dataset)
    assert {"ACE-ALA-NME", "ACE-GLY-NME", "ACE-NME"} == set(plain)
    assert len(set(shown)) == len(shown) == len(rows)  # two kinds of ALA differ in their caps
    for row, key, name in zip(data_used(dataset), dataset.group_names, plain, strict=True):
        assert row.kind in (key, name)
        assert row.n_energies == len(rows[key])
        assert row.n_forces == 0
        assert np.isnan(row.force_rms)
        assert row.source in ("AA (1)", "AG (1)", "AA (1), AG (1)", "AG (1), AA (1)", "AA (2)")
    models = dict.fromkeys({*plain} - {"ACE-NME"}, ToyModel())
    with pytest.raises(ConfigError, match="no model for the fragment ACE-NME"):
        measure_stage(
            models,
            LabelledFragments(dataset=dataset, indices=np.arange(len(dataset)), part="p"),
            title="t",
            model="m",
            model_level="toy",
            label_level="toy",
        )


def test_data_are_counted_by_kind_and_level(data):
    rows = data_used(data, [XTB])
    assert [row.kind for row in rows] == list(data.group_names)
    for row in rows:
        group = list(data.group_names).index(row.kind)
        frames = data.read(np.flatnonzero((data.group_idx == group) & data.labelled(XTB)), [XTB])
        energies = [f.labels[XTB].energy for f in frames]
        forces = np.concatenate([f.labels[XTB].forces.ravel() for f in frames])
        assert (row.n_energies, row.n_forces) == (len(frames), len(frames))
        assert row.energy_range == pytest.approx(np.ptp(energies))
        assert row.force_rms == pytest.approx(np.sqrt(np.mean(forces**2)))
        assert row.source == "two.h5"


@pytest.mark.fault
def test_a_model_that_reads_charges_is_asked_for_them(data):
    """With trained_charges, models that read charges were measured on neutral fragments."""
    charged = LabelledFragments(dataset=data, trained_charges=True)
    reads = ToyModel(uses_charge=True)
    assert charged.told(reads) is data
    assert isinstance(charged.told(ToyModel()), NeutralDataset)
    assert LabelledFragments(dataset=data).told(ToyModel()) is data
    implied = load("tlpot-fragments", device="cpu").at("gfn2-xtb")
    assert isinstance(LabelledFragments(dataset=data).told(implied), NeutralDataset)


def test_errors_are_those_of_the_model(data):
    model = load("tlpot-tiny", device="cpu").at(LOW)
    indices = np.arange(0, len(data), 3)
    stage = measure_stage(
        model,
        LabelledFragments(dataset=data, indices=indices, part="p"),
        title="t",
        model="m",
        model_level=LOW,
        label_level=LOW,
    )
    energy, force = [], []
    for frame in data.read(indices[data.labelled(LOW)[indices]], [LOW]):
        found = evaluate(model, build_graph([frame.system], model.cutoff))
        labels = frame.labels[LOW]
        energy.append(1e3 * (float(found.energy) - labels.energy) / len(frame.system))
        if labels.forces is not None:
            force.append(1e3 * (found.forces.detach().numpy() - labels.forces).ravel())
    components = np.concatenate(force)
    assert stage.total.n_frames == len(energy)
    assert stage.total.energy_rmse == pytest.approx(np.sqrt(np.mean(np.square(energy))), rel=1e-5)
    assert stage.total.force_rmse == pytest.approx(np.sqrt(np.mean(components**2)), rel=1e-5)
    assert stage.total.force_mae == pytest.approx(np.abs(components).mean(), rel=1e-5)


def test_a_shift_of_the_zero_is_no_relative_error(data):
    model = load("tlpot-tiny", device="cpu").at(LOW)
    stage = measure_stage(
        model,
        LabelledFragments(dataset=data, indices=np.arange(len(data)), part="p"),
        title="t",
        model="m",
        model_level=LOW,
        label_level=XTB,
    )
    assert not stage.same_zero
    assert stage.total.energy_rmse > 1e5  # meV/atom: xtb counts valence electrons only
    assert stage.total.relative_rmse < 100.0


@pytest.mark.fault
def test_a_single_frame_of_a_kind_has_no_relative_error(data):
    _, first = np.unique(data.group_idx[data.labelled(LOW)], return_index=True)
    indices = np.flatnonzero(data.labelled(LOW))[first]
    stage = measure_stage(
        load("tlpot-tiny", device="cpu").at(LOW),
        LabelledFragments(dataset=data, indices=indices, part="p"),
        title="t",
        model="m",
        model_level=LOW,
        label_level=LOW,
    )
    assert all(np.isnan(row.relative_rmse) for row in (*stage.rows, stage.total))
    content = json.loads(json.dumps(stage.as_json(), allow_nan=False))
    assert content[HOLISTIC]["relative_rmse"] is None
    assert "nan" not in error_text([content])
    parity_figure([stage])


def test_models_by_kind_are_used_for_their_kind(data):
    tiny, toy = load("tlpot-tiny", device="cpu").at(LOW), ToyModel()
    both = {
        name: measure_stage(
            models,
            LabelledFragments(dataset=data, indices=np.arange(len(data)), part="p"),
            title="t",
            model="m",
            model_level=LOW,
            label_level=LOW,
        )
        for name, models in {"mixed": {"water": toy, "*": tiny}, "tiny": tiny, "toy": toy}.items()
    }
    methanol, water = (list(data.group_names).index(n) for n in ("methanol", "water"))
    assert both["mixed"].rows[water] == both["toy"].rows[water]
    assert both["mixed"].rows[methanol] == both["tiny"].rows[methanol]
    with pytest.raises(ConfigError, match="no model for the fragment methanol"):
        measure_stage(
            {"water": toy},
            LabelledFragments(dataset=data, indices=np.arange(len(data)), part="p"),
            title="t",
            model="m",
            model_level=LOW,
            label_level=LOW,
        )
    with pytest.raises(DataError, match="none of the p has an energy"):
        measure_stage(
            toy,
            LabelledFragments(dataset=data, indices=np.arange(0), part="p"),
            title="t",
            model="m",
            model_level=LOW,
            label_level=LOW,
        )


def test_before_and_after_transfer_are_both_measured(data, tmp_path):
    child = load("tlpot-tiny", device="cpu")
    child.card = replace(child.card, parent=load_hash("tlpot-tiny"), name="child")
    save(child, tmp_path / "child.safetensors")
    found = examine_force_field(
        ForceFieldModels(model=tmp_path / "child.safetensors", parent="tlpot-tiny"),
        device="cpu",
        fragments=LabelledFragments(dataset=data),
    )
    assert [s.title for s in found.stages] == ["parent, own level", "after transfer"]
    assert found.stages[0].total == found.stages[1].total
    assert [m.role for m in found.provenance.models] == ["model", "parent"]
    assert found.provenance.missing == ""


def load_hash(name):
    from tlpot.models import content_hash

    return content_hash(name)


def test_a_chain_ends_where_the_file_of_a_parent_is_not_at_hand(tmp_path):
    model = load("tlpot-tiny", device="cpu")
    model.card = replace(model.card, parent="ab" * 32)
    save(model, tmp_path / "orphan.safetensors")
    chain, missing = model_chain(tmp_path / "orphan.safetensors")
    assert (len(chain), missing) == (1, "ab" * 32)
    assert chain[0].source == "orphan.safetensors"


def test_the_parts_of_the_budget_add_up(report):
    (budget,) = report.budgets
    model, scheme, total = (
        budget.budget.parts[name].forces
        for name in ("model − fragment QM", "fragment QM − whole QM", "model − whole QM")
    )
    assert np.allclose(model + scheme, total, atol=1e-9)
    assert budget.scheme == "mfcc"


def test_nve_keeps_its_energy_and_langevin_its_bonds(report):
    nve, langevin, reference = report.motions
    assert nve.settings.ensemble == "nve"
    assert np.abs(nve.deviations).max() < 1.0
    assert [langevin.calculator, reference.calculator] == ["tlpot-tiny", "ToyModel"]
    assert len(langevin.samples) == 11
    assert not any(m.broken for m in (nve, langevin))
    assert nve.samples[0].temperature == pytest.approx(300.0)


def test_a_molecule_that_falls_apart_is_said_to(dipeptide, tmp_path):
    """At 20,000 K no potential holds a peptide together."""
    topology = perceive_topology(System.from_atoms(dipeptide[0]))
    settings = MDSettings(ensemble="nve", temperature=20_000.0, steps=200, timestep=0.5)
    motion = simulate(dipeptide[0], TLPotCalculator("tlpot-tiny", device="cpu"), settings,
                      topology, structure="ala", name="tiny")  # fmt: skip
    assert re.match(r"step \d+: bond \w+-\w+ is 1\.[67]", motion.broken)
    assert motion.samples[-1].step < 200
    found = ForceFieldReport(title="t", motions=(motion,))
    text = write_report(tmp_path, found).page.read_text(encoding="utf-8")
    assert "BROKEN" in text
    assert motion.broken in text


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, False)])
def test_how_a_periodic_structure_is_wrapped_changes_neither_angles_nor_bonds(dipeptide, pbc):
    inside = dipeptide[0].copy()
    inside.set_cell([30.0] * 3)
    inside.pbc = pbc
    inside.center()
    wrapped = inside.copy()
    wrapped.positions += 15.0
    wrapped.wrap()
    assert np.ptp(wrapped.positions[:, 0]) > 20.0
    settings = ExaminationSettings(nve_steps=0, langevin_steps=10, log_every=2)
    found = [
        examine_force_field(
            ForceFieldModels(model="tlpot-tiny"),
            {"ala": [atoms]},
            settings=settings,
            device="cpu",
            method=FragmentMethod(scheme="mfcc"),
        )
        for atoms in (inside, wrapped)
    ]
    one, other = (each.ramachandran[0] for each in found)
    assert other.start == pytest.approx(one.start)
    assert other.start == pytest.approx(np.array([[-80.0, 80.0]]), abs=0.5)
    assert other.force_field.angles == pytest.approx(one.force_field.angles, abs=1e-2)
    assert found[1].motions[0].stretch == pytest.approx(found[0].motions[0].stretch, abs=1e-4)
    assert found[0].motions[0].stretch > 1.01


def test_a_bond_through_the_boundary_is_watched(dipeptide):
    wrapped = dipeptide[0].copy()
    wrapped.set_cell([30.0] * 3)
    wrapped.pbc = True
    wrapped.center()
    wrapped.positions += 15.0
    wrapped.wrap()
    topology = perceive_topology(System.from_atoms(wrapped))
    settings = MDSettings(ensemble="nve", temperature=20_000.0, steps=200, timestep=0.5)
    motion = simulate(wrapped, TLPotCalculator("tlpot-tiny", device="cpu"), settings,
                      topology, structure="ala", name="tiny")  # fmt: skip
    assert re.match(r"step \d+: bond \w+-\w+ is 1\.[67]", motion.broken)
    lengths = np.linalg.norm(motion.positions[0][topology.bonds[:, 0]]
                             - motion.positions[0][topology.bonds[:, 1]], axis=1)  # fmt: skip
    assert lengths.max() < 2.0


def test_overlaps_of_densities_are_between_none_and_all():
    rng = np.random.default_rng(0)
    first = rng.uniform(-180, 180, size=(20_000, 2, 2))
    assert overlap(first, first) == pytest.approx(1.0)
    assert overlap(first, rng.uniform(-180, 180, size=(20_000, 2, 2))) > 0.9
    assert overlap(first[:, :, :] * 0 + 10.0, first * 0 - 100.0) == 0.0
    assert np.isnan(overlap(first[:0], first))


def test_angles_wrap_around(report):
    assert overlap(np.full((5, 1, 2), -180.0), np.full((5, 1, 2), 180.0)) == pytest.approx(1.0)
    (found,) = report.ramachandran
    assert found.residues == ("ALA 1",)
    assert found.start == pytest.approx(np.array([[-80.0, 80.0]]), abs=0.5)
    assert found.force_field.angles.shape == (10, 1, 2)
    assert 0.0 <= found.agreement <= 1.0


def test_a_structure_without_angles_has_no_density(report):
    water = build_peptide("")
    topology = perceive_topology(System.from_atoms(water))
    motion = replace(report.motions[1], positions=water.positions[None])
    assert compare_angles(motion, None, topology) is None


def test_without_a_reference_it_is_said_that_there_is_none(dipeptide, tmp_path):
    settings = replace(SHORT, nve_steps=0, langevin_steps=4)
    found = examine_force_field(
        ForceFieldModels(model="tlpot-tiny"),
        {"ala": dipeptide[:1]},
        device="cpu",
        settings=settings,
        method=FragmentMethod(scheme="mfcc"),
    )
    text = write_report(tmp_path, found).page.read_text(encoding="utf-8")
    assert "there is no reference to compare structures with" in text
    assert "no reference run was asked for" in text
    assert found.ramachandran[0].reference is None


def test_mistakes_are_refused(data, dipeptide):
    with pytest.raises(ConfigError, match="are both"):
        examine_force_field(ForceFieldModels(model="tlpot-tiny", parent_level=LOW))
    with pytest.raises(UnknownLevelError, match="the model"):
        examine_force_field(ForceFieldModels(model="tlpot-tiny", level="pbe"), device="cpu")
    with pytest.raises(ConfigError, match="has no frames"):
        examine_force_field(ForceFieldModels(model="tlpot-tiny"), {"none": []}, device="cpu")
    with pytest.raises(ConfigError, match="empty table"):
        examine_force_field(ForceFieldModels(model={}), device="cpu")
    with pytest.raises(ConfigError, match="nve_steps is -1"):
        ExaminationSettings(nve_steps=-1)
    with pytest.raises(ConfigError, match="timestep"):
        ExaminationSettings(timestep=0.0)
