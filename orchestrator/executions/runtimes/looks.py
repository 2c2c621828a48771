"""Looks: what a runtime finds at Argo is held against what should be there.

A pod that dies, or whose report is lost, leaves an execution running for ever; a start that was on its way when its
execution was deleted leaves a workflow. Both are found, again and again, by any runtime.
"""

from collections.abc import Sequence
from datetime import UTC, timedelta

from orchestrator import protos as pb
from orchestrator.core.timestamps import timestamp
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import executions, states
from orchestrator.executions.runtimes import runs
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_ENDED = frozenset({"Succeeded", "Failed", "Error"})
_MOST_DIGITS = 18


def begin(transaction: Transaction, asked: pb.BeginLookParam) -> pb.Look:  # noqa: ARG001
    """Return what to look for at Argo."""
    return pb.Look(prefix=_prefix(transaction), began_at=timestamp(transaction.now))


def end(transaction: Transaction, asked: pb.EndLookParam) -> pb.EndLookResponse:
    """Fail the executions of the caller's runtimes whose workflow is over and said nothing; tell what nobody wants.

    Args:
        transaction: of the organization whose runtime has looked.
        asked: what it has found.
    """
    found = _Found(_prefix(transaction), asked.workflows)
    unwanted = _unwanted(transaction, found)
    _adopt(transaction, found, unwanted)
    patience = timedelta(seconds=asked.patience_seconds)
    failed, over, lives = [], [], []
    for watched in _watched(transaction, asked):
        reason = found.reason(watched)
        if not reason:
            lives.append(watched.execution)
        elif transaction.now - (watched.over_since or transaction.now) < patience:
            over.append(watched.execution)
        elif executions.fail(
            transaction, watched.execution, f"{reason}, and nothing was reported of it", states.LIVING
        ):
            failed.append(watched.execution)
    _mark(transaction, over, lives)
    return pb.EndLookResponse(failed=failed, unwanted=unwanted)


def _prefix(transaction: Transaction) -> str:
    return runs.label(runs.installation(transaction), 0).removesuffix("0")


class _Found:
    """What was found of this installation.

    Args:
        prefix: of its labels.
        workflows: all that bear one like it.
    """

    def __init__(self, prefix: str, workflows: Sequence[pb.FoundWorkflow]) -> None:
        numbers = [(each.label.removeprefix(prefix), each) for each in workflows if each.label.startswith(prefix)]
        self._named = {
            (int(number), each.name): each
            for number, each in numbers
            if number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS
        }

    def parameters(self) -> dict[str, object]:
        """Return them as parameters of a statement."""
        return {"executions": [id_ for id_, _ in self._named], "names": [name for _, name in self._named]}

    def reason(self, watched: Row) -> str:
        """Return why an execution may have failed, empty where its workflow goes on."""
        if watched.workflow is None:
            return "it could not be started"
        workflow = self._named.get((watched.execution, watched.workflow))
        if workflow is None:
            return f"its workflow {watched.workflow} is gone"
        if workflow.phase not in _ENDED:
            return ""
        said = f": {workflow.message}" if workflow.message else ""
        return f"its workflow {watched.workflow} ended as {workflow.phase}{said}"


_FOUND = """
    WITH found AS (
             SELECT execution, name
             FROM unnest(CAST(:executions AS bigint[]), CAST(:names AS text[])) AS found (execution, name)
         )
"""
_UNWANTED = statement(
    """
    $FOUND
    SELECT name FROM found LEFT JOIN execution_runs USING (execution) LEFT JOIN plans ON plans.key = plan
    WHERE plan IS NULL OR plans.ended_at IS NOT NULL OR workflow <> name ORDER BY name
    """,
    FOUND=_FOUND,
)


def _unwanted(transaction: Transaction, found: _Found) -> list[str]:
    """Return the workflows whose execution was deleted, cancelled or said not to be started, or has another."""
    return list(transaction.connection.execute(_UNWANTED, found.parameters()).scalars())


_ADOPT = statement(
    """
    $FOUND
    UPDATE execution_runs SET workflow = name, noted_at = :now
    FROM found
    WHERE found.execution = execution_runs.execution AND workflow IS NULL AND name <> ALL(CAST(:unwanted AS text[]))
      AND NOT EXISTS (SELECT FROM task_states WHERE plan_key = plan AND status IN ($LIVE))
    """,
    FOUND=_FOUND,
)


def _adopt(transaction: Transaction, found: _Found, unwanted: Sequence[str]) -> None:
    """Note workflows whose start nobody could tell, though their pods have reported."""
    transaction.connection.execute(_ADOPT, {**found.parameters(), "unwanted": unwanted, "now": transaction.now})


_WATCHED = statement(
    """
    SELECT execution, workflow, over_since FROM executions JOIN execution_runs ON execution = id
    WHERE executions.status IN ($LIVING)
      AND execution_runs.channel = :channel AND worker = :organization
      AND (noted_at < :began_at
           OR (workflow IS NULL AND implementation = '$ARGO' AND executions.status = $RUNNING
               AND NOT EXISTS (SELECT FROM task_states WHERE plan_key = plan AND status IN ($LIVE))
               AND NOT EXISTS (SELECT FROM task_states JOIN attempts ON task_key = key
                               WHERE plan_key = plan AND attempts.ended_at >= :began_at)))
    ORDER BY execution
    """,
    ARGO=runs.ARGO,
    RUNNING=str(int(states.RUNNING)),
    LIVING=", ".join(str(int(status)) for status in states.LIVING),
)


def _watched(transaction: Transaction, asked: pb.EndLookParam) -> Sequence[Row]:
    """Return the executions that live, and whose workflow was there when the look began, or should have been.

    Of one that was reported running though its start has failed there may be none.
    """
    parameters = {
        "channel": transaction.channel,
        "organization": transaction.organization,
        "began_at": asked.began_at.ToDatetime(UTC),
    }
    return transaction.connection.execute(_WATCHED, parameters).all()


_MARK = statement("""
    UPDATE execution_runs SET over_since = CASE WHEN execution = ANY(CAST(:over AS bigint[])) THEN :now END
    WHERE execution = ANY(CAST(:over AS bigint[])) AND over_since IS NULL
       OR execution = ANY(CAST(:lives AS bigint[])) AND over_since IS NOT NULL
""")


def _mark(transaction: Transaction, over: Sequence[int], lives: Sequence[int]) -> None:
    """Note since when workflows are over, for their pods may report yet; and that others are not."""
    transaction.connection.execute(_MARK, {"over": over, "lives": lives, "now": transaction.now})
