"""What is known of the consent of workers: a policy is its organization's own, but what it ran or declined was seen."""

from collections.abc import Collection, Iterator
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import tasks
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

# One that declines a function declines all its tasks: some of the newest say so.
_SEEN = statement(
    """
    SELECT pair.worker, pair.function,
           EXISTS (SELECT FROM tasks JOIN task_states USING (key)
                   WHERE requires = pair.function AND tasks.worker = pair.worker AND status IN ($DONE)
                     AND channel = :channel AND kind = '$KIND') AS ran,
           ARRAY(SELECT declines.message
                 FROM declines JOIN tasks ON tasks.key = task_key JOIN task_states ON task_states.key = task_key
                 WHERE declines.worker = pair.worker AND declines.channel = :channel AND requires = pair.function
                   AND status IN ($TO_DO) AND declines.attempts = task_states.attempts
                 ORDER BY declined_at DESC LIMIT 20) AS declines
    FROM unnest(CAST(:workers AS text[]), CAST(:functions AS uuid[])) AS pair (worker, function)
    ORDER BY pair.worker, pair.function
    """,
    KIND=tasks.KIND,
)


def seen(transaction: Transaction, pairs: Collection[tuple[str, str]]) -> Iterator[pb.CheckedConsent]:
    """Yield what was seen in the channel of the consent of workers to functions.

    Args:
        transaction: of the caller.
        pairs: a worker, and the key of a function.
    """
    parameters = {
        "channel": transaction.channel,
        "workers": [worker for worker, _ in pairs],
        "functions": [UUID(function) for _, function in pairs],
    }
    for row in transaction.connection.execute(_SEEN, parameters):
        declined = next((each for each in map(pb.Decline.FromString, row.declines) if each.function), None)
        consent = pb.CONSENT_DECLINED if declined else pb.CONSENT_SEEN if row.ran else pb.CONSENT_UNKNOWN
        yield pb.CheckedConsent(
            organization=row.worker,
            function_key=str(row.function),
            consent=consent,
            reason=declined.reason if declined else "",
        )
