"""The sweep of silent nodes, with a clock of its own."""

import pytest

from orchestrator import protos as pb
from orchestrator.compute import attempts, nodes
from orchestrator.engine.sweeps import silent_nodes
from orchestrator.store.sweep import Sweep
from tests.kit.member import after, at_once, made

DAY = 86_400.0


@pytest.fixture
def sweep(database) -> Sweep:
    return made(silent_nodes, database, node_retention=DAY)


def hear(network, *names: str) -> None:
    for name in names:
        network.call(attempts.heartbeat, pb.HeartbeatParam(node=name))


def shown(network) -> list[str]:
    return [node.name for node in network.call(nodes.get_all, pb.GetNodesParam()).nodes]


def test_a_node_is_forgotten_after_a_while(database, network, sweep):
    hear(network, "node-1", "node-2")
    assert sweep.sweep(database, after(DAY - 60)) == 0
    assert shown(network) == ["node-1", "node-2"]
    assert sweep.sweep(database, after(DAY + 60)) == 2
    assert shown(network) == []


def test_a_node_that_comes_back_is_shown_again(database, network, sweep):
    hear(network, "node-1")
    sweep.sweep(database, after(2 * DAY))
    hear(network, "node-1")
    assert shown(network) == ["node-1"]


def test_a_batch_is_bounded_and_two_at_once_take_each_once(database, network, sweep):
    hear(network, *(f"node-{number}" for number in range(9)))
    now = after(2 * DAY)
    assert sweep.run(database, now, sweep.batch) == 2
    counts = at_once(*[lambda: sweep.sweep(database, now)] * 2)
    assert sum(counts) + sweep.sweep(database, now) == 7
