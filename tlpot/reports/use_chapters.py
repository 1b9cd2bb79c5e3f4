"""The sections of the page about use and origin: dynamics, φ and ψ, cost, provenance."""

from __future__ import annotations

from html import escape

from tlpot.dynamics import Motion
from tlpot.presentation import duration, inline, number, paragraph, picture, table, tree
from tlpot.reports.cost import CostRow
from tlpot.reports.pictures import dynamics_figure, ramachandran_figure, run_name
from tlpot.reports.provenance import ModelRecord, Provenance
from tlpot.reports.ramachandran import CELL, Ramachandran


def dynamics_chapter(motions: tuple[Motion, ...]) -> str:
    """Drift at constant energy, and whether the structures hold together."""
    text = "".join(paragraph(how) for how in dict.fromkeys(motion.protocol for motion in motions))
    text += paragraph(
        "The drift is the slope of a straight line through the total energy of the NVE run; mean "
        "and standard deviation of the temperature are of the second half. "
        "This tells a force field that falls apart from one that does not; it proves nothing "
        "about nanoseconds."
    )
    rows = []
    for motion in motions:
        nve = motion.settings.ensemble == "nve"
        mean, spread = motion.kelvin
        rows.append(
            (
                motion.structure, motion.calculator, run_name(motion),
                "BROKEN" if motion.broken else "intact", number(motion.picoseconds),
                number(motion.settings.timestep), number(motion.settings.temperature),
                number(mean) + " ± " + number(spread),
                number(motion.drift, sign=True) if nve else "–",
                number(float(abs(motion.deviations).max())) if nve else "–",
                number(motion.stretch), number(1e3 * motion.seconds_per_step),
            )
        )  # fmt: skip
    text += table(
        [
            ("structure", ""), ("forces", ""), ("run", ""), ("bonds", ""), ("length", "ps"),
            ("step", "fs"), ("asked", "K"), ("temperature", "K"),
            ("E drift", "meV/atom/ps"), ("largest ΔE", "meV/atom"), ("longest bond", "× first"),
            ("wall time", "ms/step"),
        ],
        rows, words=4,
    )  # fmt: skip
    for motion in motions:
        if motion.broken:
            text += paragraph(
                f"{motion.structure}, {run_name(motion)} with "
                f"{motion.calculator}: {motion.broken}", "warning",
            )  # fmt: skip
    for name in dict.fromkeys(motion.structure for motion in motions):
        own = [motion for motion in motions if motion.structure == name]
        text += picture(dynamics_figure(own), f"{name}: total energy less its first value, and "
                        "temperature; the grey line is the temperature asked for.")  # fmt: skip
    return text


def ramachandran_chapter(found: tuple[Ramachandran, ...]) -> str:
    """Densities of φ and ψ."""
    text = paragraph(
        "φ and ψ of all amino acids that have both, from the Langevin runs without their first "
        f"tenth. The overlap is Σ min(p, q) over cells of {CELL:g}° × {CELL:g}°, averaged over the "
        "residues: 1 for equal densities, 0 for disjoint ones. The overlap of the two halves of "
        "one run says how well that run is converged: a lower overlap between runs than within "
        "them is a difference; otherwise the runs are too short to tell."
    )
    rows = []
    for each in found:
        reference = each.reference
        missing = float("nan")
        rows.append(
            (
                each.structure, ", ".join(each.residues), each.force_field.calculator,
                "none" if reference is None else reference.calculator,
                str(len(each.force_field.angles)),
                "–" if reference is None else str(len(reference.angles)),
                number(each.agreement), number(each.force_field.halves),
                number(missing if reference is None else reference.halves),
            )
        )  # fmt: skip
    text += table(
        [
            ("structure", ""), ("residues", ""), ("force field", ""), ("reference", ""),
            ("samples", "force field"), ("samples", "reference"), ("overlap", "with reference"),
            ("overlap of halves", "force field"), ("overlap of halves", "reference"),
        ],
        rows, words=4,
    )  # fmt: skip
    for each in found:
        if each.reference is None:
            text += paragraph(f"{each.structure}: no reference run was asked for.", "note")
        text += picture(
            ramachandran_figure(each),
            f"{each.structure}: samples in cells of 15° (logarithmic colours, all residues "
            "together), and the densities of each angle. Crosses are the start.",
        )
    return text


def cost_chapter(rows: tuple[CostRow, ...]) -> str:
    """What was computed, and how long that took."""
    cells = [
        (
            row.what, row.level or "–", f"{row.count:,}", duration(row.seconds),
            duration(row.total_seconds), duration(row.total_cpu_seconds),
        )
        for row in rows
    ]  # fmt: skip
    total = sum(row.total_seconds for row in rows)
    cells.append(("total", "", "", "", duration(total), ""))
    return paragraph(
        "Time by the clocks of the workers, added up; several workers at once take less time by "
        "the clock on the wall. What is called wall time is by that clock instead."
    ) + table(
        [
            ("work", ""), ("level", ""), ("number", ""), ("median", "of one"), ("total", "clock"),
            ("total", "processor"),
        ],
        cells, words=2, last=True,
    )  # fmt: skip


def provenance_chapter(found: Provenance) -> str:
    """Models with their ancestors, data with the definitions of their levels, versions."""
    text = paragraph(
        "The SHA-256 of a file is its identity; a model's card names its parent by it."
    )
    text += "<h3>Models</h3>\n"
    for model in found.models:
        text += _model(model)
    if found.missing:
        text += paragraph(
            f"The next ancestor has SHA-256 {found.missing}; its file was not at hand, so the "
            "chain ends here.", "note",
        )  # fmt: skip
    if found.data:
        text += "<h3>Data</h3>\n" + table(
            [("file", ""), ("frames", ""), ("SHA-256 of the content", "")],
            [(d.source, f"{d.n_frames:,}", d.sha256) for d in found.data],
            more_words=(2,),
        )
        rows = [
            (data.source, level, definition or "not stated in the file")
            for data in found.data
            for level, definition in data.levels.items()
        ]
        text += table([("file", ""), ("level", ""), ("definition", "")], rows, words=3)
    if found.settings:
        text += f"<h3>Examination</h3>\n<pre>{escape(tree(found.settings))}</pre>\n"
    if found.versions:
        text += "<h3>Versions</h3>\n" + table(
            [("program", ""), ("version", "")], list(found.versions.items()), words=2
        )
    return text


def _model(model: ModelRecord) -> str:
    card = model.card
    rows = [
        ("role", model.role),
        ("file or name", model.source),
        ("SHA-256", model.sha256 or "not a file"),
        ("kind", model.kind),
        ("levels", ", ".join(model.levels)),
        ("description", card.description),
        ("licence", card.licence),
        ("parent", card.parent or "none"),
        ("trained on", inline(card.dataset)),
        *((f"E0 {level}", origin) for level, origin in card.references.items()),
        ("made with", ", ".join(f"{k} {v}" for k, v in card.versions.items())),
        ("cite", card.citation),
    ]
    text = table([(card.name, ""), ("", "")], [row for row in rows if row[1]], words=2)
    if card.recipe:
        text += paragraph(f"Recipe of {card.name}:", "note")
        text += f"<pre>{escape(tree(card.recipe))}</pre>\n"
    return text
