"""Events: `SubscribeToEvents`, in commit order, without gap, repeat or reordering."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import grpc
import psycopg
import pytest

from orchestrator import protos as pb
from tests.kit.messages import new_key, new_plan, new_task, tasks
from tests.kit.organization import Organization, refuses


def first(stream: Iterator[pb.Event], count: int) -> list[pb.Event]:
    return list(islice(stream, count))


def check_silent(org: Organization, stream: Any) -> None:
    """Check that a stream has nothing more to say: the next that it tells is what happens now."""
    plan = org.register_plan()
    assert next(stream).asset_key == plan.key
    stream.cancel()


def test_an_empty_start_gives_all_events_in_order(org: Organization):
    org.task_in("STATUS_DONE")
    stream = org.subscribe()
    assert first(stream, len(org.events())) == org.events()
    check_silent(org, stream)


def test_a_subscriber_resumes_after_each_event(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    parent = new_task(function, plan)
    org.send(tasks(parent, *(new_task(function, plan, [parent]) for _ in range(5))))
    whole = org.events()
    for position, event in enumerate(whole[:-1]):
        stream = org.subscribe(event.id)
        assert first(stream, len(whole) - position - 1) == whole[position + 1 :]
        stream.cancel()
    check_silent(org, org.subscribe(whole[-1].id))


def test_an_unknown_event_is_not_found(org: Organization, elsewhere: Organization):
    for unknown in (new_key(), elsewhere.events()[-1].id):
        with refuses("OE0002"):
            next(org.subscribe(unknown))
    with refuses("OE0002", "OE0003", "OE0101"):
        next(org.subscribe("no id"))


def test_new_events_follow_those_that_were_there(org: Organization):
    backlog = org.events()
    stream = org.subscribe()
    assert first(stream, len(backlog)) == backlog
    for _ in range(5):
        plan = org.register_plan()
        event = next(stream)
        assert event.compute_plan == plan
        assert [event] == org.events(asset_key=plan.key)
    stream.cancel()


def test_a_subscriber_that_came_first_hears_everything(bare: dict[str, Organization]):
    stream = bare["org-2"].subscribe()
    bare["org-1"].send(pb.RegisterOrganizationParam())
    assert next(stream).asset_key == "org-1"
    stream.cancel()


def test_every_organization_of_the_channel_hears_the_same(network: dict[str, Organization]):
    network["org-1"].task_in("STATUS_FAILED")
    whole = network["org-1"].events()
    for organization in network.values():
        stream = organization.subscribe()
        assert first(stream, len(whole)) == whole
        stream.cancel()


def test_events_of_another_channel_are_not_heard(org: Organization, elsewhere: Organization):
    stream = org.subscribe(org.events()[-1].id)
    elsewhere.task_in("STATUS_DONE")
    check_silent(org, stream)


def test_refused_calls_are_not_heard(org: Organization, other: Organization, plan: pb.ComputePlan):
    stream = org.subscribe(org.events()[-1].id)
    other.refused(pb.UpdateComputePlanParam(key=plan.key, name="mine"), "OE0102")
    org.refused(new_plan(key=plan.key), "OE0006")
    check_silent(org, stream)


def test_a_subscription_ends_with_its_deadline_or_its_cancellation(org: Organization):
    stream = org.subscribe(org.events()[-1].id, timeout=0.5)
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert org.register_plan().key


def test_many_writers_and_no_gap(network: dict[str, Organization]):
    """Live, resumed and replayed streams tell one order, in which each writer's calls keep theirs."""
    org = network["org-1"]
    start = org.events()[-1].id
    live = org.subscribe(start)
    function, plan = org.register_function(), org.register_plan()
    beginning = len(org.events())

    def write(organization: Organization) -> list[str]:
        keys = []
        for turn in range(12):
            if turn % 3:
                keys.append(organization.register_plan().key)
            elif organization is org:
                batch = tasks(*(new_task(function, plan) for _ in range(40)))
                keys += [task.key for task in organization.send(batch).tasks]
            else:
                keys.append(organization.register_data_manager().key)
        return keys

    writers = [*network.values()] * 3
    with ThreadPoolExecutor(len(writers)) as threads:
        written = list(threads.map(write, writers))
    count = sum(len(keys) for keys in written)
    known = 3
    heard = first(live, beginning - known + count)
    live.cancel()
    assert len({event.id for event in heard}) == len(heard)
    order = [event.asset_key for event in heard[beginning - known :]]
    for keys in written:
        assert [key for key in order if key in set(keys)] == keys
    for position in (0, len(heard) // 3, len(heard) // 2, len(heard) - 2):
        resumed = org.subscribe(heard[position].id)
        assert first(resumed, len(heard) - position - 1) == heard[position + 1 :]
        resumed.cancel()
    assert {event.id for event in org.events()} >= {event.id for event in heard}


def test_idle_subscribers_share_the_connections_to_the_database(database: str, org: Organization):
    idle = [org.subscribe() for _ in range(200)]
    for stream in idle:
        next(stream)
    with psycopg.connect(database) as connection:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert connection.execute(count).fetchone()[0] < 50
    plan = org.register_plan()
    for stream in idle:
        assert any(event.asset_key == plan.key for event in stream)
        stream.cancel()
