"""A watch takes what is about its plan, remembers where it is, and resumes only what can be resumed."""

import grpc
import pytest

from orchestrator import protos as pb
from orchestrator.client import CallError, Watch
from orchestrator.client.display import describe

PLAN = "plan"


def event(number: int, kind: int = pb.EVENT_ASSET_CREATED, reason: str = "", **asset: object) -> pb.Event:
    made = pb.Event(id=f"event-{number}", event_kind=kind, metadata={"reason": reason} if reason else {}, **asset)
    made.timestamp.FromSeconds(number)
    return made


def task(key: str, status: int = pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, plan: str = PLAN) -> pb.ComputeTask:
    return pb.ComputeTask(key=key, compute_plan_key=plan, status=status, function_key="function", worker="org-1")


STORY = [
    event(1, compute_plan=pb.ComputePlan(key=PLAN, name="p")),
    event(2, compute_plan=pb.ComputePlan(key="other")),
    event(3, compute_task=task("a")),
    event(4, compute_task=task("b", plan="other")),
    event(5, pb.EVENT_ASSET_UPDATED, "asked", compute_task=task("a", pb.STATUS_EXECUTING)),
    event(6, model=pb.Model(key="m", compute_task_key="a")),
    event(7, model=pb.Model(key="n", compute_task_key="b")),
    event(8, performance=pb.Performance(compute_task_key="a", compute_task_output_identifier="auc")),
    event(9, compute_task_output_asset=pb.ComputeTaskOutputAsset(compute_task_key="a")),
    event(10, profiling_step=pb.ProfilingStep(asset_key="a", step="s", duration=1)),
    event(11, failure_report=pb.FailureReport(asset_key="b")),
    event(12, failure_report=pb.FailureReport(asset_key="function", asset_type=pb.FAILED_ASSET_FUNCTION)),
    event(13, organization=pb.Organization(id="org-1")),
    event(14, pb.EVENT_ASSET_UPDATED, compute_task=task("a", pb.STATUS_DONE)),
]


def test_only_what_is_about_the_plan_is_taken():
    watch = Watch(PLAN)
    taken = [taken for raw in STORY for taken in watch.take(raw)]
    assert [int(each.id.removeprefix("event-")) for each in taken] == [1, 3, 5, 6, 8, 9, 10, 12, 14]
    assert taken[2].reason == "asked"
    assert (taken[0].kind, taken[-1].kind) == ("created", "updated")
    assert taken[0].time.timestamp() == 1
    assert watch.ended
    assert watch.request.start_event_id == "event-14"


def test_it_resumes_after_events_of_others_too():
    watch = Watch(PLAN)
    for raw in STORY[:4]:
        watch.take(raw)
    assert watch.request == pb.SubscribeToEventsParam(start_event_id="event-4")
    assert not watch.ended


def test_a_refusal_is_not_resumed():
    refused = CallError(grpc.StatusCode.PERMISSION_DENIED, "OE0102: no")
    with pytest.raises(CallError) as caught:
        next(Watch(PLAN).resume(refused))
    assert caught.value is refused


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN])
def test_what_a_stopping_server_answers_is_resumed(status):
    assert isinstance(next(Watch(PLAN).resume(CallError(status, ""))), float)
    assert isinstance(next(Watch(PLAN).resume(None)), float)


def test_a_lost_connection_is_asked_for_until_the_patience_is_over():
    lost = CallError(grpc.StatusCode.UNAVAILABLE, "gone")
    steps = Watch(PLAN, patience=0.0).resume(lost)
    assert isinstance(next(steps), float)
    assert callable(next(steps))
    with pytest.raises(CallError, match="gone"):
        steps.throw(lost)

    steps = Watch(PLAN, patience=60.0).resume(lost)
    pauses = []
    for _ in range(9):
        pauses.append(next(steps) if not pauses else steps.throw(lost))
        assert callable(next(steps))
    assert pauses[0] < 0.2
    assert all(2.5 <= pause <= 7.5 for pause in pauses[-2:])
    with pytest.raises(StopIteration):
        steps.send(pb.ComputePlan())


def test_lines_for_people_cannot_steer_a_terminal():
    watch = Watch(PLAN)
    lines = [str(describe(taken)) for raw in STORY for taken in watch.take(raw)]
    assert any("task a rank 0 org-1 Doing (asked)" in line for line in lines)
    (nasty,) = watch.take(event(20, pb.EVENT_ASSET_UPDATED, "\x1b[2J", compute_task=task("a")))
    assert "\x1b" not in str(describe(nasty))
