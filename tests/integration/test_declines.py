"""What a worker declines: no attempt, no poke, seen by all, until it is reconsidered or ends; without the wire."""

from contextlib import suppress
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.compute import declines
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import task_events
from orchestrator.engine.sweeps import due_retries, lost_pokes
from orchestrator.engine.transaction import Database
from orchestrator.trace import forgotten, places, reading
from tests.kit import messages
from tests.kit.member import Member, after, at_once, made, refused

REASON = "org-1 has not approved function train of org-2"
HOUR = 3600.0


def decline(network: Member, task: UUID, organization: str | None = None, **changes: object) -> None:
    asked = pb.DeclineTaskParam(**{"compute_task_key": str(task), "reason": REASON, "function": True, **changes})
    network.call(declines.decline, asked, organization)


def declined(network: Member, **filters: str) -> list[pb.Decline]:
    return list(network.call(declines.query, pb.GetDeclinesParam(**filters), "org-2").declines)


def reconsider(network: Member, *tasks: UUID, organization: str | None = None) -> int:
    asked = pb.ReconsiderTasksParam(compute_task_keys=[str(task) for task in tasks])
    return network.call(declines.reconsider, asked, organization).count


def own_events(network: Member, task: UUID) -> list[pb.TaskEvent]:
    return list(network.call(task_events.query, pb.GetTaskEventsParam(compute_task_key=str(task))).events)


def sweep(network: Member, seconds: float) -> None:
    made(lost_pokes, network.database).sweep(network.database, after(seconds))
    made(due_retries, network.database).sweep(network.database, after(seconds))


def test_a_declined_task_stays_to_do_and_everybody_sees_why(network, stranger):
    (task,) = network.register()
    decline(network, task)
    assert network.word(task) == "To do"
    assert network.row(task).attempts == 0
    assert not network.attempts(task)
    (found,) = declined(network, worker="org-1")
    assert (found.reason, found.worker, found.function, found.plan) == (REASON, "org-1", True, False)
    assert (found.function_key, found.function_owner) == (network.function.key, "org-1")
    assert found.function_checksum == network.function.archive.checksum
    assert (found.compute_plan_key, found.plan_owner) == (network.plan.key, "org-1")
    assert found.HasField("time")
    for filters in ({}, {"compute_plan_key": network.plan.key}, {"compute_task_key": str(task)}):
        assert declined(network, **filters) == [found]
    for filters in ({"worker": "org-2"}, {"compute_plan_key": messages.new_key()}):
        assert declined(network, **filters) == []


def test_no_sweep_pokes_for_a_declined_task_and_it_is_again_when_it_is_reconsidered(network):
    task, other = network.register(2)
    network.send()
    decline(network, task)
    # Nodes that come back are poked for all that is due.
    network.execute("INSERT INTO queues VALUES ('org.org-1', :now, :now)", now=after(HOUR))
    sweep(network, 2 * HOUR)
    assert {poke.key for poke in network.send()} == {other}
    assert reconsider(network, task) == 1
    assert [(poke.key, poke.attempt) for poke in network.send()] == [(task, 1)]
    assert declined(network) == []
    sweep(network, 4 * HOUR)
    assert task in {poke.key for poke in network.send()}, "from then on its lost pokes are repeated"
    assert network.claim(task).attempt.number == 1


def test_a_retry_that_is_due_and_declined_is_not_poked(network):
    (task,) = network.register()
    network.fail(network.claim(task).attempt)
    with refused("OE0104", "pause"):
        decline(network, task)
    network.execute("UPDATE task_states SET due_at = now() - interval '1 s' WHERE key = :key", key=task)
    network.send()
    decline(network, task)
    sweep(network, HOUR)
    assert network.send() == []
    assert reconsider(network, task) == 1
    assert [(poke.key, poke.attempt) for poke in network.send()] == [(task, 2)]


@pytest.mark.parametrize("way", ["claimed", "cancelled", "failed", "plan cancelled"])
def test_a_decline_is_gone_when_the_task_moves(network, way):
    (task,) = network.register()
    decline(network, task)
    if way == "claimed":
        network.claim(task)
    elif way == "plan cancelled":
        network.cancel()
    else:
        action = pb.TASK_ACTION_CANCELED if way == "cancelled" else pb.TASK_ACTION_FAILED
        network.end(task, action)
    assert declined(network) == []
    assert not network.rows("SELECT * FROM declines WHERE task_key = :key", key=task)
    assert reconsider(network, task) == 0
    with refused("OE0104"):
        decline(network, task)


def test_the_same_decline_again_is_no_news(network):
    (task,) = network.register()
    decline(network, task)
    decline(network, task)
    assert len(own_events(network, task)) == 1
    decline(network, task, reason="another", plan=True, refused=True)
    first, second = own_events(network, task)
    assert first.decline.reason == REASON
    assert (second.decline.reason, second.decline.refused) == ("another", True)
    reconsider(network, task)
    kinds = [event.event_kind for event in own_events(network, task)]
    assert kinds == [pb.EVENT_ASSET_CREATED, pb.EVENT_ASSET_CREATED, pb.EVENT_ASSET_DISABLED]


def test_only_the_worker_declines_and_reconsiders(network, stranger):
    (task,) = network.register()
    with refused("OE0102"):
        decline(network, task, "org-2")
    decline(network, task)
    assert reconsider(network, task, organization="org-2") == 0
    assert len(declined(network)) == 1
    elsewhere = Member(network.database, "org-1", "elsewhere")
    with refused("OE0002"):
        decline(elsewhere, task)
    assert reconsider(elsewhere, task) == 0
    assert declined(elsewhere) == []


@pytest.mark.parametrize(
    "changes", [{"reason": ""}, {"reason": "x" * 501}, {"reason": "a\0"}, {"compute_task_key": "?"}]
)
def test_what_is_no_decline_is_refused(network, changes):
    (task,) = network.register()
    with refused("OE0101"):
        decline(network, task, **changes)
    with refused("OE0003"):
        decline(network, task, function=False)
    with refused("OE0003"):
        network.call(declines.reconsider, pb.ReconsiderTasksParam())
    with refused("OE0003"):
        many = [messages.new_key()] * (declines.MOST_AT_ONCE + 1)
        network.call(declines.reconsider, pb.ReconsiderTasksParam(compute_task_keys=many))


def test_a_decline_and_a_claim_at_once_leave_nothing_behind(network):
    for task in network.register(10):

        def lose(call: object, task: UUID = task) -> None:
            # Which of the two came first is not the question.
            with suppress(IncompatibleStatusError):
                call(task)

        at_once(lambda lose=lose: lose(partial(decline, network)), lambda lose=lose: lose(network.claim))
        if network.word(task) == "To do":
            network.claim(task)
        assert declined(network) == []
        network.release(network.claim(task, claim_id=network.attempts(task)[0].claim_id).attempt)
        assert declined(network) == []


def test_pages_of_declines_are_stable(network):
    tasks = network.register(5)
    for task in tasks:
        decline(network, task)
    seen, token = [], ""
    while True:
        answer = network.call(declines.query, pb.GetDeclinesParam(page_size=2, page_token=token))
        seen += [UUID(each.compute_task_key) for each in answer.declines]
        token = answer.next_page_token
        if not token:
            break
    assert seen == tasks


def test_the_contract_does_not_tell_of_own_kinds_and_the_audit_holds(network):
    (task,) = network.register()
    network.send()
    before = network.call(reading.query, pb.QueryEventsParam(page_size=1000)).events
    decline(network, task)
    reconsider(network, task)
    assert network.call(reading.query, pb.QueryEventsParam(page_size=1000)).events == before
    with network.database.engine.begin() as connection:
        placed = places.place(connection, 1000)
        found = places.read_after(connection, 0, 1000, [network.channel])
    assert placed == len(found) == len(before) + 2
    assert [event.message for event in found[-2:]] == [b"", b""], "they have places, and nothing for subscribers"
    assert list(stored.check(network.database, network.channel, timedelta(days=7))) == []


def test_a_subscriber_resumes_after_what_was_forgotten_though_own_kinds_came_last(network):
    (task,) = network.register()
    last = network.call(reading.query, pb.QueryEventsParam(sort=pb.DESCENDING, page_size=1)).events[0].id
    first = 0
    for reason in ("one", "another"):
        # The second part of the trace has events of our own kinds alone.
        decline(network, task, reason=reason)
        with network.database.engine.begin() as connection:
            places.place(connection, 1000)
            end = places.last_position(connection)
            forgotten.note(connection, forgotten.ends(connection, forgotten.Part(first, end)))
        begun = network.database.run("org-2", network.channel, lambda t: reading.subscribe(t, last))
        assert begun.position == end, "it has all that it could know"
        first = end
    assert list(stored.check(network.database, network.channel, timedelta(days=7))) == []


def test_steps_of_a_task_are_events_of_our_own(network):
    (task,) = network.register()
    claim = network.claim(task)
    step = messages.profiling_step(str(task))
    network.complete(claim.attempt, messages.new_model(str(task)), profiling_steps=[step])
    (event,) = own_events(network, task)
    assert event.profiling_step == step
    wanted = pb.QueryEventsParam(page_size=1000)
    kinds = {event.asset_kind for event in network.call(reading.query, wanted).events}
    assert pb.ASSET_PROFILING_STEP not in kinds
    assert max(kinds) < 100


def test_a_step_of_another_task_is_refused_with_the_results(network):
    task, other = network.register(2)
    claim = network.claim(task)
    with refused("OE0101"):
        network.complete(claim.attempt, profiling_steps=[messages.profiling_step(str(other))])
    assert network.word(task) == "Doing"


def test_steps_of_tasks_that_an_earlier_release_kept_are_not_shown(network):
    (task,) = network.register()
    step = messages.profiling_step(str(task))
    network.database.run("org-1", network.channel, lambda t: t.events.created(str(task), step))
    shown = network.call(reading.query, pb.QueryEventsParam(page_size=1000)).events
    assert pb.ASSET_PROFILING_STEP not in {event.asset_kind for event in shown}
    assert [event.profiling_step for event in own_events(network, task)] == [step]


class Model:
    """What must be true of declines, whatever is done in whatever order."""

    def __init__(self, network: Member, tasks: list[UUID]) -> None:
        self.network, self.tasks = network, tasks
        self.words = dict.fromkeys(tasks, "To do")
        self.declined: set[UUID] = set()

    def step(self, name: str, task: UUID) -> None:
        to_do = self.words[task] == "To do"
        if name == "decline":
            if to_do:
                decline(self.network, task)
                self.declined.add(task)
            else:
                with refused("OE0104"):
                    decline(self.network, task)
        elif name == "reconsider":
            assert reconsider(self.network, task) == (task in self.declined)
            self.declined.discard(task)
        elif name == "claim" and to_do:
            self.network.claim(task)
            self.words[task] = "Doing"
            self.declined.discard(task)
        elif name == "release" and self.words[task] == "Doing":
            row = self.network.attempts(task)[-1]
            self.network.release(self.network.claim(task, claim_id=row.claim_id).attempt)
            self.words[task] = "To do"
        elif name == "cancel" and self.words[task] in ("To do", "Doing"):
            self.network.end(task, pb.TASK_ACTION_CANCELED)
            self.words[task] = "Cancelled"
            self.declined.discard(task)

    def check(self) -> None:
        assert {UUID(each.compute_task_key) for each in declined(self.network)} & set(self.tasks) == self.declined
        self.network.send()
        sweep(self.network, 2 * HOUR)
        poked = {poke.key for poke in self.network.send() if poke.message == RUN_TASK} & set(self.tasks)
        assert poked == {task for task in self.tasks if self.words[task] == "To do"} - self.declined


NAMES = st.sampled_from(["decline", "reconsider", "claim", "release", "cancel"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, st.integers(0, 1)), max_size=8))
def test_what_is_declined_and_nothing_else_is_left_unpoked(database: Database, steps: list[tuple[str, int]]):
    network = Member(database, channel=str(uuid4()))
    model = Model(network, network.register(2))
    for name, which in steps:
        model.step(name, model.tasks[which])
    model.check()
