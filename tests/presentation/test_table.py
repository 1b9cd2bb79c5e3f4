"""The table as text, HTML and plain values."""

import re

import numpy as np
import pytest

from tlpot.presentation import Column, Table

COLUMNS = [
    Column("fragment", width=10),
    Column("error (meV)", ".3g", width=12),
    "frames",
    "note",
]


@pytest.mark.parametrize("error", [0.1, -1.23456e-14, 3.3e20, float("nan"), None])
@pytest.mark.parametrize("frames", [1, 10**15])
@pytest.mark.parametrize("name", ["a", "a name longer than its column"])
def test_columns_never_run_together(name, error, frames):
    head, *rows = Table(
        COLUMNS, [("b", 0.5, 2, "as is"), (name, error, frames, "x")], whole=","
    ).lines()
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
    text = Table(["<b>", "n (Å & more)"], [("<i>", 1)], total=True)
    found = text.html()
    assert "<b>" not in found
    assert "<i>" not in found
    assert '<td class="words">&lt;i&gt;</td>' in found
    assert '<tr class="sum">' in found
    assert "<small>Å &amp; more</small>" in found
    assert text._repr_html_() == found


def test_json_has_plain_values_under_full_headings():
    table = Table(
        ["name", "MAE (meV)", "MAE (meV)"],
        [("a", np.float64(0.5), float("nan"))],
        groups=[("", 1), ("before", 1), ("after", 1)],
    )
    assert table.as_json() == [{"name": "a", "before: MAE (meV)": 0.5, "after: MAE (meV)": None}]
    assert type(table.as_json()[0]["before: MAE (meV)"]) is float


def test_what_is_missing_has_a_mark():
    assert Table(["a", "b"], [("x", None)], missing="-").lines()[-1] == "x  -"


def test_rows_must_fit_the_columns():
    with pytest.raises(ValueError, match="values"):
        Table(["a", "b"], [("x",)])


def test_words_go_to_the_left_and_numbers_to_the_right():
    table = Table(["n", "x", "what"], [(1, 0.5, "a"), (200, 2, "abc")], format=".2f", whole=",")
    assert [column.align for column in table.full_columns] == ["right", "right", "left"]
    assert table.lines() == ["  n     x  what", "  1  0.50  a", "200  2.00  abc"]
    written = Table("name | n | share", [("2-butanol", "1,234", "0.5 ± 0.1"), ("x", "7", "-")])
    assert [column.align for column in written.full_columns] == ["left", "right", "right"]
