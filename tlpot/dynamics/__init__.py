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
    from tlpot.dynamics.frequencies import (
        Frequencies,
        Thermochemistry,
        check_conditions,
        thermochemistry,
    )
    from tlpot.dynamics.record import LOST, MDRecord, lost_constraints
    from tlpot.dynamics.relaxation import (
        Relaxation,
        RelaxationSettings,
        RelaxationStep,
        relaxation_steps,
    )
    from tlpot.dynamics.run import MDResult, plot_md, run_md
    from tlpot.dynamics.runner import (
        MDRunner,
        Sample,
        check_results,
        draw_velocities,
        drift_of,
        energy_drift,
        rigid_motions,
    )
    from tlpot.dynamics.settings import MDSettings
    from tlpot.dynamics.vibrations import (
        HarmonicModes,
        check_stationary,
        free_atoms,
        harmonic_modes,
        hessian_of,
        turns_freely,
        write_modes,
        write_molden,
    )

__getattr__ = lazy_exports(__name__)
