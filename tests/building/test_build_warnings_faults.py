"""What a fine-tuning says in capitals, at the end of a build."""

import pytest
from build_settings import settings

from tlpot.building import BuildResult, build_plan
from tlpot.building.stage import Origin, Record


@pytest.mark.fault
def test_a_build_whose_fine_tuning_kept_no_update_says_so(tmp_path):
    """It ended with equal errors before and after, and no word of it."""

    def record(*said):
        return Record(
            origin=Origin(settings={}, inputs={}), outputs={}, seconds=1.0,
            facts={"metrics": {"warnings": list(said)} if said else {}},
        )  # fmt: skip

    result = BuildResult.of(
        build_plan(settings(tmp_path)), None, {"finetune": record("NO UPDATE WAS KEPT")}
    )
    assert "warning: NO UPDATE WAS KEPT" in result.conclusion()
    mended = {**result.records, "round-1-finetune": record()}
    assert not BuildResult.of(build_plan(settings(tmp_path)), None, mended).conclusion()
