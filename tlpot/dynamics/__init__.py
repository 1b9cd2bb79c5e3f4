"""Molecular dynamics, relaxation and vibrations with any ASE calculator."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.dynamics.bond_monitor import (
        BondMonitor,
        MonitoredRun,
        Motion,
        run_monitored,
        simulate,
    )
    from tlpot.dynamics.record import LOST, MDRecord
    from tlpot.dynamics.run import MDResult, run_md
    from tlpot.dynamics.runner import (
        MDRunner,
        Sample,
        draw_velocities,
        drift_of,
        energy_drift,
        rigid_motions,
    )
    from tlpot.dynamics.settings import MDSettings

__getattr__ = lazy_exports(__name__)
