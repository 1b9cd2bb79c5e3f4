"""Energy models behind the interfaces of other programs."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.interfaces.ase import TLPotCalculator as TLPotCalculator
    from tlpot.interfaces.delta import DeltaCalculator as DeltaCalculator
    from tlpot.interfaces.engine import EngineCalculator as EngineCalculator
    from tlpot.interfaces.engine import named_source as named_source
    from tlpot.interfaces.fragment import FragmentCalculator as FragmentCalculator
    from tlpot.interfaces.md import MDResult as MDResult
    from tlpot.interfaces.md import energy_drift as energy_drift
    from tlpot.interfaces.md import run_md as run_md
    from tlpot.interfaces.md_settings import MDSettings as MDSettings
    from tlpot.interfaces.preparation import PreparationReport as PreparationReport
    from tlpot.interfaces.preparation import prepare_protein as prepare_protein
    from tlpot.structures.protein import read_protein as read_protein
    from tlpot.structures.reader import read_frames as read_frames
    from tlpot.structures.reader import read_structure as read_structure

__getattr__ = lazy_exports(__name__)
