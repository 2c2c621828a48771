"""Every sweep that there is: the one list to add a sweep to."""

from types import ModuleType

from beat.settings import BeatSettings
from orchestrator.compute.sweeps import lost_builds, transient_outputs
from orchestrator.engine.sweeps import (
    due_retries,
    expired_leases,
    lost_pokes,
    old_attempts,
    old_pokes,
    silent_nodes,
    stale_queues,
    stuck_tasks,
    totals,
    unacknowledged_stops,
)
from orchestrator.executions.sweeps import (
    deserted_runs,
    old_topics,
    orphan_files,
    unreported_runs,
    unstarted,
    waiting_gangs,
)
from orchestrator.problems.sweeps import late_iterations, old_problems, open_commands, silent_modules, slow_stages
from orchestrator.store.sweep import Sweep
from orchestrator.trace.sweeps import event_partitions, old_events, old_subscriptions

MODULES: tuple[ModuleType, ...] = (
    expired_leases,
    due_retries,
    lost_pokes,
    lost_builds,
    unacknowledged_stops,
    stuck_tasks,
    transient_outputs,
    event_partitions,
    old_events,
    old_attempts,
    old_pokes,
    old_subscriptions,
    silent_nodes,
    stale_queues,
    totals,
    orphan_files,
    old_topics,
    waiting_gangs,
    unreported_runs,
    unstarted,
    deserted_runs,
    silent_modules,
    slow_stages,
    late_iterations,
    open_commands,
    old_problems,
)
"""Modules with a function `make`, from the settings to a `Sweep`, or None where it is not wanted."""


def make(settings: BeatSettings) -> list[Sweep]:
    """Return every sweep that the settings ask for."""
    return [sweep for module in MODULES if (sweep := module.make(settings))]
