"""What runs executions, by what their schema says."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.executions.runtimes import runs, starting
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.executions.tasks import task_runs

Begin = Callable[[Transaction, pb.Execution, Mapping[str, Any], ExecutionSettings], None]
"""Plans a new execution in the transaction that keeps it, by the manifest of its workflow."""

_BEGINS: Mapping[str, Begin] = {runs.ARGO: starting.begin, runs.TASKS: task_runs.begin}


def of(schema: pb.WorkflowSchema, debug: bool, settings: ExecutionSettings) -> Begin | None:
    """Return what plans a new execution of a schema; None where nothing is started.

    Args:
        schema: of the execution.
        debug: whether it is asked for that nothing is started.
        settings: of executions.
    """
    if debug or (schema.implementation == runs.ARGO and settings.executions_runtime == "off"):
        return None
    return _BEGINS.get(schema.implementation)
