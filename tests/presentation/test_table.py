"""The table as text, HTML and plain values."""

import re

import numpy as np
import pytest

from tlpot.presentation import Column, Table

COLUMNS = [
    Column("fragment", align="left", width=10),
    Column("error", "meV", format=".3g", width=12),
    Column("frames", format=","),
    Column("note", align="left"),
]


@pytest.mark.parametrize("error", [0.1, -1.23456e-14, 3.3e20, float("nan"), None])
@pytest.mark.parametrize("frames", [1, 10**15])
@pytest.mark.parametrize("name", ["a", "a name longer than its column"])
def test_columns_never_run_together(name, error, frames):
    head, *rows = Table(COLUMNS, [("b", 0.5, 2, "as is"), (name, error, frames, "x")]).lines()
    assert re.split(r" {2,}", head) == ["fragment", "error (meV)", "frames", "note"]
    first, *others = re.split(r" {2,}", rows[1])
    assert first == name
    assert len(others) == 3
    ends = {line.rindex(last) for line, last in zip(rows, ("as is", "x"), strict=True)}
    assert ends == {head.index("note")}


def test_a_heading_over_columns_makes_room_for_itself():
    above, head, row = Table(
        ["", "x", "y"], [("k", 1, 2)], groups=[("", 1), ("a long heading", 2)]
    ).lines()
    assert len(above) == len(head) == len(row)
    assert above.endswith("a long heading")


def test_html_escapes_what_it_holds_and_marks_words_and_sums():
    text = Table([Column("<b>", align="left"), Column("n", "Å & more")], [("<i>", 1)], total=True)
    found = text.html()
    assert "<b>" not in found
    assert "<i>" not in found
    assert '<td class="words">&lt;i&gt;</td>' in found
    assert '<tr class="sum">' in found
    assert "<small>Å &amp; more</small>" in found
    assert text._repr_html_() == found


def test_json_has_plain_values_under_full_headings():
    table = Table(
        ["name", Column("MAE", "meV"), Column("MAE", "meV")],
        [("a", np.float64(0.5), float("nan"))],
        groups=[("", 1), ("before", 1), ("after", 1)],
    )
    assert table.as_json() == [{"name": "a", "before: MAE (meV)": 0.5, "after: MAE (meV)": None}]
    assert type(table.as_json()[0]["before: MAE (meV)"]) is float


def test_what_is_missing_has_a_mark():
    assert Table(["a", "b"], [("x", None)], missing="-").lines()[-1] == "x  -"


def test_rows_must_fit_the_columns():
    with pytest.raises(ValueError, match="shorter"):
        Table(["a", "b"], [("x",)]).text()
