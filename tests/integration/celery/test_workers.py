"""Organizations' workers in one cluster, driven through pytest-celery: queues, names, events, and what they survive."""

import pickle
import uuid
from pathlib import Path
from typing import Any

import redis

from orchestrator.core.pokes import BUILD_FUNCTION, DISABLE_OUTPUTS, RUN_TASK, account, key_prefix, queue
from tests.kit.containers import BrokerContainer

from .cluster import Cluster


def test_the_cluster_is_ready_and_answers_pings(celery_setup: Cluster) -> None:
    assert len(celery_setup) == 3
    assert celery_setup.backend_cluster is None
    assert celery_setup.ready(control=True, docker=True)
    assert [worker.hostname() for worker in celery_setup.worker_cluster] == ["a@node-1", "b@node-1"]
    assert celery_setup.inspect("ping") == {"a@node-1": {"ok": "pong"}, "b@node-1": {"ok": "pong"}}


def test_tasks_have_readable_names(celery_setup: Cluster) -> None:
    names = [BUILD_FUNCTION, DISABLE_OUTPUTS, RUN_TASK]
    assert names == ["function.build", "outputs.disable", "task.run"]
    assert celery_setup.inspect("registered") == {"a@node-1": names, "b@node-1": names}


def test_each_worker_consumes_its_own_queue_only(celery_setup: Cluster) -> None:
    consumed = {
        node: [entry["name"] for entry in queues] for node, queues in celery_setup.inspect("active_queues").items()
    }
    assert consumed == {"a@node-1": ["org.a"], "b@node-1": ["org.b"]}


def test_a_poke_reaches_its_organization_only(celery_setup: Cluster) -> None:
    a, b = celery_setup.worker_of("a"), celery_setup.worker_of("b")
    for_a = celery_setup.poke_in_vain("a")
    a.assert_log_exists(for_a)
    b.assert_log_exists(celery_setup.poke_in_vain("b"))
    assert for_a not in b.logs()


def test_a_poke_waits_for_its_organization_while_others_work(
    celery_setup: Cluster, broker_container: BrokerContainer
) -> None:
    a, b = celery_setup.worker_of("a"), celery_setup.worker_of("b")
    a.kill()
    assert a.container.status == "exited"
    for_a = celery_setup.poke_in_vain("a")
    b.assert_log_exists(celery_setup.poke_in_vain("b"))
    with redis.Redis.from_url(broker_container.valkey.url) as client:
        assert client.llen(key_prefix(account("a")) + queue("a")) == 1
    a.restart()
    a.assert_log_exists(for_a)
    assert for_a not in b.logs()


def test_a_function_that_nobody_knows_is_left_alone(celery_setup: Cluster) -> None:
    function = str(uuid.uuid4())
    celery_setup.poke("a", BUILD_FUNCTION, function=function)
    a = celery_setup.worker_of("a")
    a.assert_log_exists(function)
    a.assert_log_exists(celery_setup.poke_in_vain("a"))


def test_a_worker_runs_no_other_task(celery_setup: Cluster) -> None:
    a = celery_setup.worker_of("a")
    identity = celery_setup.poke("a", celery_setup.ping.name)
    a.assert_log_exists("no task of this worker")
    a.assert_log_exists(celery_setup.poke_in_vain("a"))
    assert f"[{identity}] succeeded" not in a.logs()


class Escape:
    """Makes whoever unpickles it write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_a_worker_does_not_unpickle(celery_setup: Cluster, tmp_path: Path) -> None:
    a, target = celery_setup.worker_of("a"), tmp_path / "escaped"
    celery_setup.poke("a", RUN_TASK, serializer="pickle", task=Escape(target), attempt=1)
    a.assert_log_exists("no JSON by its content type")
    a.assert_log_exists(celery_setup.poke_in_vain("a"))
    assert not target.exists()
    pickle.loads(pickle.dumps(Escape(target)))
    assert target.exists(), "the message would have done no harm to anybody"


def test_events_tell_the_life_of_a_task(celery_setup: Cluster) -> None:
    task, seen = str(uuid.uuid4()), []
    sent: list[str] = []

    def on_event(event: dict[str, Any]) -> None:
        # The first event, the answer to the receiver's wake-up call, says that we listen.
        if not sent:
            sent.append(celery_setup.poke("a", RUN_TASK, task=task, attempt=1))
        if event.get("uuid") in sent:
            seen.append(event)
        receiver.should_stop = event["type"] == "task-succeeded" and event["uuid"] in sent

    with celery_setup.connection() as connection:
        receiver = celery_setup.app.events.Receiver(connection, handlers={"*": on_event})
        receiver.capture(timeout=60)
    assert [event["type"] for event in seen] == ["task-received", "task-started", "task-succeeded"]
    assert {event["hostname"] for event in seen} == {"a@node-1"}
    assert seen[0]["name"] == RUN_TASK
    assert task in seen[0]["kwargs"]


def test_workers_survive_a_restart_of_the_broker(celery_setup: Cluster) -> None:
    pids = {worker.name(): worker.container.process.pid for worker in celery_setup.worker_cluster}
    celery_setup.broker.restart()
    for worker in celery_setup.worker_cluster:
        worker.assert_log_exists(celery_setup.poke_in_vain(worker.worker_name))
    assert pids == {worker.name(): worker.container.process.pid for worker in celery_setup.worker_cluster}


def test_workers_survive_a_flush_of_the_broker(celery_setup: Cluster, broker_container: BrokerContainer) -> None:
    with redis.Redis.from_url(broker_container.valkey.url) as client:
        client.flushall()
    for worker in celery_setup.worker_cluster:
        worker.assert_log_exists(celery_setup.poke_in_vain(worker.worker_name))
    assert set(celery_setup.inspect("ping")) == {"a@node-1", "b@node-1"}


def test_a_worker_shows_no_password(celery_setup: Cluster, broker_container: BrokerContainer) -> None:
    password = broker_container.valkey.url.split(":")[2].partition("@")[0]
    a = celery_setup.worker_of("a")
    assert f"redis://:{password}@" in broker_container.valkey.url
    assert "redis://:**@" in a.logs()
    assert password not in a.logs()
    assert password not in Path(f"/proc/{a.container.process.pid}/cmdline").read_text()
