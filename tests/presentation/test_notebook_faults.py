"""What a notebook shows of a result."""

import re
from html import unescape

import pytest

from tlpot.presentation import Result

pytestmark = pytest.mark.fault
NOTE = "note: " + "the data is what the model was trained on & <more>, " * 5
ROW = "methanol   " + "   ".join(f"{k}.123456" for k in range(12))


class Told(Result):
    def text(self):
        return f"headline\n{NOTE}\n  {ROW}\n\n{'x' * 90}\n"


def test_long_notes_wrap_and_tables_do_not():
    """A note of a line of its own ran out of the cell."""
    shown = Told()._repr_html_()
    (text,) = re.findall("<pre>(.*)</pre>", shown, re.DOTALL)
    wrapped = re.findall(r"<span style=\"white-space: pre-wrap[^>]*>(.*?)</span>", text)
    assert [unescape(each) for each in wrapped] == [NOTE, "x" * 90]
    assert unescape(re.sub("</?span[^>]*>", "", text)) == Told().text().rstrip()
