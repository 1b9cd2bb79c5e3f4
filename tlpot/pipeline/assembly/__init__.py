"""Fragment lists, single points and error budgets of proteins, as text, JSON and pictures."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.pipeline.assembly.budget import Budget as Budget
    from tlpot.pipeline.assembly.budget import measure_budget as measure_budget
    from tlpot.pipeline.assembly.budget_report import BudgetReport as BudgetReport
    from tlpot.pipeline.assembly.cut import Cut as Cut
    from tlpot.pipeline.assembly.export import write_fragments as write_fragments
    from tlpot.pipeline.assembly.listing import Listing as Listing
    from tlpot.pipeline.assembly.single_point import SinglePoints as SinglePoints

__getattr__ = lazy_exports(__name__)
