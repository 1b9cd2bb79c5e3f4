"""Molecular dynamics, relaxation and vibrations with any ASE calculator."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.dynamics.bond_monitor import BROKEN, WatchedBonds, run_watched
    from tlpot.dynamics.integrators import draw_velocities, make_dynamics, rigid_motions
    from tlpot.dynamics.motion import Motion, simulate
    from tlpot.dynamics.record import LOST, MDRecord, Sample
    from tlpot.dynamics.run import MDResult, drift_of, energy_drift, run_md
    from tlpot.dynamics.settings import MDSettings

__getattr__ = lazy_exports(__name__)
