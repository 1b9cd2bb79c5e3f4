"""What a training says in capitals, on the page about its force field."""

import dataclasses

import pytest

from tlpot.reports import ForceFieldReport, Provenance, model_chain
from tlpot.reports.page import render_page


@pytest.mark.fault
def test_a_transfer_that_kept_no_update_is_said_at_the_top_of_the_page():
    """The page showed equal errors before and after, and no word of it."""
    (record, *others), _ = model_chain("tlpot-tiny")
    said = "NO UPDATE WAS KEPT: at every validation"
    card = dataclasses.replace(record.card, metrics={"warnings": [said]})
    models = (dataclasses.replace(record, card=card), *others)
    page = render_page(ForceFieldReport(title="t", provenance=Provenance(models=models)))
    assert f'<p class="warning">{said}</p>' in page
    assert "NO UPDATE" not in render_page(ForceFieldReport(title="t"))
