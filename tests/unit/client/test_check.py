"""What a person reads of a plan that was looked at."""

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.client import Check

KEY = "1a2b3c4d-0000-4000-8000-000000000000"


def function(status: "pb.FunctionStatus.ValueType", **changes: object) -> pb.CheckedFunction:
    return pb.CheckedFunction(
        **{"key": KEY, "name": "train", "owner": "org-1", "status": status, "tasks": 2, **changes}
    )


def worker(**changes: object) -> pb.CheckedWorker:
    return pb.CheckedWorker(**{"organization": "org-2", "tasks": 3, "nodes": 1, **changes})


def waits(**found: object) -> list[str]:
    check = Check(pb.PlanCheck(**{"tasks": 1, **found}))
    assert check.ok
    return check.waits


def test_functions_are_ready_or_waited_for_or_at_fault() -> None:
    assert waits(functions=[function(pb.FUNCTION_STATUS_READY)]) == []
    shown = "function 'train' (1a2b3c4d) of org-1"
    assert waits(functions=[function(pb.FUNCTION_STATUS_WAITING)]) == [f"{shown} waits to be built, and 2 tasks for it"]
    assert waits(functions=[function(pb.FUNCTION_STATUS_BUILDING, tasks=1)]) == [
        f"{shown} is being built: 1 task would wait for it"
    ]
    for status, word in (
        (pb.FUNCTION_STATUS_FAILED, "could not be built"),
        (pb.FUNCTION_STATUS_CANCELED, "was cancelled"),
    ):
        check = Check(pb.PlanCheck(functions=[function(status)], tasks=2))
        assert (check.ok, check.faults) == (False, [f"{shown} {word}: 2 tasks would end at once"])
        assert str(check).startswith("2 tasks: it would not run\nfault: ")


def test_a_function_that_is_not_for_whoever_would_run_it_is_a_fault() -> None:
    check = Check(pb.PlanCheck(functions=[function(pb.FUNCTION_STATUS_READY, strangers=["org-2", "org-3"])], tasks=2))
    assert check.faults == [
        "function 'train' (1a2b3c4d) of org-1 may not be run by org-2, org-3: it must be added with permissions for "
        "org-2, org-3"
    ]


def test_a_plan_without_tasks_would_never_end() -> None:
    assert Check(pb.PlanCheck()).faults == ["it has no tasks, and would never end"]


def test_workers_are_there_with_room_or_not() -> None:
    now, before = Timestamp(seconds=10_000), Timestamp(seconds=9_400)
    for there in (worker(), worker(ready=1, slots=2, attempts=1), worker(ready=0, slots=2, attempts=2)):
        assert waits(workers=[there]) == []
    assert waits(workers=[worker(ready=1, slots=2, attempts=2)]) == [
        "org-2 has 2 of 2 slots taken: 1 task would wait for one"
    ]
    assert waits(workers=[worker(nodes=0)]) == ["no worker of org-2 was heard so far: 3 tasks would wait for one"]
    assert waits(workers=[worker(nodes=0, last_heartbeat=before)], now=now) == [
        "no worker of org-2 was heard for 10 min: 3 tasks would wait for one"
    ]


def test_what_was_seen_of_consent() -> None:
    def told(consent: "pb.Consent.ValueType", organization: str = "org-2", reason: str = "") -> list[str]:
        seen = pb.CheckedConsent(organization=organization, function_key=KEY, consent=consent, reason=reason)
        return waits(functions=[function(pb.FUNCTION_STATUS_READY)], consents=[seen])

    shown = "function 'train' (1a2b3c4d) of org-1"
    assert told(pb.CONSENT_SEEN) == []
    assert told(pb.CONSENT_UNKNOWN, "org-1") == []
    assert told(pb.CONSENT_UNKNOWN) == [f"org-2 has not run {shown} yet: its consent policy may have to be asked"]
    assert told(pb.CONSENT_DECLINED, reason="not\x1b[2J approved") == [f"org-2 declines {shown}: not\ufffd[2J approved"]


def test_faults_are_told_and_those_beyond_are_counted() -> None:
    faults = [pb.PlanFault(compute_task_key=KEY, code="OE0002", message=f"task {KEY}: no worker")]
    check = Check(pb.PlanCheck(faults=faults, fault_count=3, tasks=9))
    assert check.faults == [f"OE0002: task {KEY}: no worker", "and 2 more"]
    assert check.document()["fault_sentences"] == check.faults
