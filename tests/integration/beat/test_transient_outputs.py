"""The sweep of transient outputs, with a clock of its own."""

from uuid import UUID

import pytest

from orchestrator import protos as pb
from orchestrator.compute import task_actions
from orchestrator.compute.sweeps import transient_outputs
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.pokes import DISABLE_OUTPUTS
from orchestrator.engine import outbox
from orchestrator.store.sweep import Sweep
from tests.kit import messages
from tests.kit.member import Member, after, at_once, made, refused

AGE = 60.0
TRANSIENT = {"model": messages.output(transient=True)}
NOW = after(0)


@pytest.fixture
def sweep(database) -> Sweep:
    return made(transient_outputs, database, transient_output_age=AGE)


def produced(network: Member, count: int = 1, **changes) -> list[UUID]:
    """Tasks that are Done, each with a transient model."""
    made = network.register(count, **{"outputs": TRANSIENT, **changes})
    for task in made:
        network.run(task)
    return made


def used(network: Member, count: int = 1) -> list[UUID]:
    """Those whose one child is Done."""
    parents = produced(network, count)
    for parent in parents:
        network.run(network.below(parent))
    network.send()
    return parents


def test_its_worker_is_asked_when_the_last_child_has_ended(database, network, sweep):
    (parent,) = produced(network)
    children = [network.below(parent), network.below(parent)]
    network.run(children[0])
    network.send()
    assert sweep.sweep(database, NOW) == 0
    network.run(children[1])
    network.send()
    assert sweep.sweep(database, NOW) == 1
    assert network.send() == [outbox.Poke(DISABLE_OUTPUTS, "org.org-1", parent, 1)]


@pytest.mark.parametrize("action", [pb.TASK_ACTION_FAILED, pb.TASK_ACTION_CANCELED])
def test_children_that_did_not_end_well_need_it_no_more_either(database, network, sweep, action):
    (parent,) = produced(network)
    network.end(network.below(parent), action)
    assert sweep.sweep(database, NOW) == 1


def test_what_somebody_may_need_is_kept(database, network, sweep):
    produced(network)  # no child yet
    (kept,) = produced(network, outputs={"model": messages.output()})
    network.run(network.below(kept))
    (parent,) = produced(network)
    network.claim(network.below(parent))
    assert sweep.sweep(database, NOW) == 0


def test_what_is_disabled_is_not_asked_for(database, network, sweep):
    (parent,) = used(network)
    network.call(task_actions.disable_output, pb.DisableOutputParam(compute_task_key=str(parent), identifier="model"))
    assert sweep.sweep(database, NOW) == 0


def test_its_worker_is_asked_again_after_a_while(database, network, sweep):
    (parent,) = used(network)
    assert sweep.sweep(database, after(0)) == 1
    network.send()
    assert sweep.sweep(database, after(AGE - 5)) == 0
    assert sweep.sweep(database, after(AGE + 1)) == 1
    assert [poke.key for poke in network.send()] == [parent]


def test_a_task_is_asked_for_once_however_many_models_it_made(database, network, sweep):
    (parent,) = used(network)
    network.execute("""
        INSERT INTO models (key, channel, owner, created_at, message, task_key, output, transient)
        SELECT gen_random_uuid(), channel, owner, created_at, message, task_key, output, transient FROM models
        WHERE transient
    """)
    assert sweep.run(database, NOW, 10) == 2
    assert [poke.key for poke in network.send()] == [parent]


def test_a_batch_is_bounded_and_a_sweep_takes_all(database, network, sweep):
    parents = used(network, 5)
    assert sweep.run(database, NOW, sweep.batch) == 2
    assert sweep.sweep(database, NOW) == 3
    assert sorted(poke.key for poke in network.send()) == sorted(parents)


def test_two_sweeps_at_once_ask_for_each_once(database, network, sweep):
    parents = used(network, 12)
    counts = at_once(*[lambda: sweep.sweep(database, NOW)] * 2)
    assert sum(counts) + sweep.sweep(database, NOW) == 12
    assert sorted(poke.key for poke in network.send()) == sorted(parents)


def test_a_locked_model_is_passed_over(database, network, sweep):
    held, free = used(network, 2)
    with network.locked("models", "task_key = :key", key=held):
        assert sweep.sweep(database, NOW) == 1
    assert [poke.key for poke in network.send()] == [free]


def test_a_worker_that_is_away_is_asked_again_when_it_is_back(database, network, sweep):
    network.heartbeat()
    (parent,) = used(network)
    assert sweep.sweep(database, after(0)) == 1
    network.send()
    assert sweep.sweep(database, after(100 * AGE)) == 0
    network.execute("UPDATE models SET poked_at = poked_at - interval '1 hour'")
    network.execute("UPDATE queues SET heard_at = heard_at - interval '1 hour', since = since - interval '2 hours'")
    assert sweep.sweep(database, after(0)) == 0
    network.heartbeat()
    assert sweep.sweep(database, after(1)) == 1
    assert network.send() == [outbox.Poke(DISABLE_OUTPUTS, "org.org-1", parent, 1)]


def test_what_waits_for_the_broker_is_not_asked_again(database, network, sweep):
    used(network)
    assert sweep.sweep(database, after(0)) == 1
    assert sweep.sweep(database, after(2 * AGE)) == 0
    assert len(network.send()) == 1
    assert sweep.sweep(database, after(4 * AGE)) == 1


def test_what_a_task_is_given_by_its_key_is_kept_until_that_has_ended(database, network, sweep):
    (parent,) = used(network)
    (model,) = network.rows("SELECT key FROM models WHERE task_key = :task", task=parent)
    asked = pb.DisableOutputParam(compute_task_key=str(parent), identifier="model")
    (user,) = network.register(inputs=[messages.by_key("models", str(model.key))])
    assert sweep.sweep(database, NOW) == 0
    with refused("OE0108", "one that has not ended"):
        network.call(task_actions.disable_output, asked)
    network.run(user)
    assert sweep.sweep(database, NOW) == 1
    network.call(task_actions.disable_output, asked)


def test_what_is_disabled_and_given_by_its_key_at_once_is_one_or_the_other(database, network, sweep):
    parents = used(network, 6)
    for parent in parents:
        (model,) = network.rows("SELECT key FROM models WHERE task_key = :task", task=parent)

        def disable(parent: UUID = parent) -> str:
            return outcome(
                lambda: network.call(
                    task_actions.disable_output,
                    pb.DisableOutputParam(compute_task_key=str(parent), identifier="model"),
                )
            )

        def give(model: UUID = model.key) -> str:
            return outcome(lambda: network.register(inputs=[messages.by_key("models", str(model))]))

        assert sorted(at_once(disable, give)) in (["OE0101", "OK"], ["OE0108", "OK"])


def outcome(call) -> str:
    try:
        call()
    except OrchestratorError as error:
        return error.code
    return "OK"
