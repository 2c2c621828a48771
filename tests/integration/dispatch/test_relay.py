"""The relay: each poke is sent after its commit, once when nothing fails, and twice at most after a crash."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import kombu.exceptions
import psycopg
import pytest
import redis
from sqlalchemy import text

from orchestrator.core import pokes
from orchestrator.dispatch.brokers import Brokers
from orchestrator.dispatch.relay import Relay
from orchestrator.embedded.valkey import Valkey
from orchestrator.engine import outbox
from orchestrator.engine.transaction import Database
from tests.kit.waiting import wait_until

SCRIPT = """
import os
from orchestrator.dispatch.brokers import Brokers
from orchestrator.dispatch.relay import Relay
from orchestrator.engine.transaction import Database
Relay(Database(os.environ["TEST_DATABASE"]), Brokers(os.environ["TEST_BROKER"])).send(os.environ["TEST_QUEUE"])
"""


@pytest.fixture
def organization() -> str:
    """An organization with a queue that no other test reads."""
    return f"org-{uuid.uuid4()}"


@contextmanager
def relaying(database: Database, url: str, batch: int = 100) -> Iterator[Relay]:
    relay = Relay(database, Brokers(url), batch)
    try:
        yield relay
    finally:
        relay.close()


def ask(database: Database, organization: str, amount: int = 1) -> list[uuid.UUID]:
    """Commit pokes for new tasks."""
    keys = [uuid.uuid4() for _ in range(amount)]
    database.run(organization, "ours", lambda t: [t.pokes.run(pokes.queue(organization), key, 1) for key in keys])
    return keys


def sent(url: str, organization: str) -> list[str]:
    """Return the keys of the tasks that were poked, in their order in the queue."""
    key = pokes.key_prefix(pokes.account(organization)) + pokes.queue(organization)
    with redis.Redis.from_url(url) as client:
        messages = [json.loads(message) for message in client.lrange(key, 0, -1)[::-1]]
    return [json.loads(message["headers"]["kwargsrepr"].replace("'", '"'))["task"] for message in messages]


def counted(database: Database, query: str) -> int:
    with database.begin() as connection:
        return int(connection.execute(text(query)).scalar_one())


def unsent(database: Database) -> int:
    return counted(database, "SELECT count(*) FROM outbox WHERE sent_at IS NULL")


def test_pokes_are_sent_once_in_their_order_and_marked(database: Database, valkey: Valkey, organization: str):
    keys = ask(database, organization, 25)
    with relaying(database, valkey.url, batch=10) as relay:
        assert [relay.send(pokes.queue(organization)) for _ in range(4)] == [10, 10, 5, 0]
    assert sent(valkey.url, organization) == list(map(str, keys))
    assert unsent(database) == 0


def test_a_batch_takes_one_command_and_each_message_is_the_one_that_celery_sends(
    database: Database, valkey: Valkey, organization: str
):
    queue = pokes.queue(organization)
    keys = ask(database, organization, 5)
    with redis.Redis.from_url(valkey.url) as client:

        def pushes() -> int:
            return int(client.info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"])

        before = pushes()
        with relaying(database, valkey.url) as relay:
            relay.send(queue)
            assert pushes() == before + 1
            app = relay._app(queue)
            for key in keys:
                app.send_task(pokes.RUN_TASK, kwargs={"task": str(key), "attempt": 1}, queue=queue, retry=False)
        stored = client.lrange(pokes.key_prefix(pokes.account(organization)) + queue, 0, -1)[::-1]
    ours, celerys = stored[:5], stored[5:]
    assert [same(message) for message in ours] == [same(message) for message in celerys]
    assert len(set(ours)) == len(celerys) == 5


def same(message: bytes) -> bytes:
    """Return the bytes of a message with its own ids at zero: of the task, and of its delivery."""
    said = json.loads(message)
    for identity in (said["headers"]["id"], said["properties"]["delivery_tag"]):
        message = message.replace(identity.encode(), b"0" * 36)
    return message


def test_two_relays_at_once_send_each_poke_once(database: Database, valkey: Valkey, organization: str):
    keys = ask(database, organization, 300)

    def drain(relay: Relay) -> int:
        total = 0
        while unsent(database):
            total += relay.send(pokes.queue(organization))
        return total

    with (
        relaying(database, valkey.url, 7) as first,
        relaying(database, valkey.url, 11) as second,
        ThreadPoolExecutor() as threads,
    ):
        totals = list(threads.map(drain, (first, second)))
    assert sum(totals) == len(keys)
    assert sorted(sent(valkey.url, organization)) == sorted(map(str, keys))


def test_a_call_that_was_rolled_back_pokes_nobody(database: Database, valkey: Valkey, organization: str):
    def fail(transaction: object) -> None:
        transaction.pokes.run(pokes.queue(organization), uuid.uuid4(), 1)  # type: ignore[attr-defined]
        transaction.flush()  # type: ignore[attr-defined]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.run(organization, "ours", fail)
    with relaying(database, valkey.url) as relay:
        assert relay.send(pokes.queue(organization)) == 0
    assert sent(valkey.url, organization) == []


def test_pokes_wait_for_a_broker_that_is_down(database: Database, tmp_path: Path, organization: str):
    broker = Valkey(tmp_path)
    broker.start()
    try:
        with relaying(database, broker.url) as relay:
            first = ask(database, organization)
            assert relay.send(pokes.queue(organization)) == 1
            broker.stop()
            keys = ask(database, organization, 5)
            for _ in range(2):
                with pytest.raises(kombu.exceptions.OperationalError):
                    relay.send(pokes.queue(organization))
            assert unsent(database) == 5
            broker.start()
            assert relay.send(pokes.queue(organization)) == 5
            assert relay.send(pokes.queue(organization)) == 0
            # The restarted broker has forgotten the first: what is lost there is poked again by a sweep.
            assert sent(broker.url, organization) == list(map(str, keys))
            assert not set(sent(broker.url, organization)) & set(map(str, first))
    finally:
        broker.stop()


def test_a_relay_killed_between_sending_and_marking_sends_twice_at_most(
    database: Database, valkey: Valkey, organization: str
):
    keys = ask(database, organization, 5)
    with psycopg.connect(database.url, autocommit=True) as holder:
        holder.execute("""
            CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock_shared(43); RETURN NEW; END $$
        """)
        holder.execute("CREATE TRIGGER stall BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION stall()")
        holder.execute("SELECT pg_advisory_lock(43)")
        environment = {
            **os.environ,
            "TEST_DATABASE": database.url,
            "TEST_BROKER": valkey.url,
            "TEST_QUEUE": pokes.queue(organization),
        }
        child = subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment)
        try:
            stuck = "SELECT pid FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
            (pid,) = wait_until(lambda: holder.execute(stuck).fetchone(), timeout=30, message="the marking")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert sent(valkey.url, organization) == list(map(str, keys))
        holder.execute("SELECT pg_advisory_unlock_all()")
        alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: holder.execute(alive, [pid]).fetchone() == (0,), message="the end of the dead one's session")
        assert unsent(database) == 5
        holder.execute("DROP TRIGGER stall ON outbox")
        holder.execute("DROP FUNCTION stall()")
    with relaying(database, valkey.url) as relay:
        assert [relay.send(pokes.queue(organization)), relay.send(pokes.queue(organization))] == [5, 0]
    assert sent(valkey.url, organization) == [*map(str, keys)] * 2


def test_a_broker_that_hangs_holds_up_no_call(database: Database, organization: str):
    """A task that ends drops its unsent pokes; the one that the relay is sending just now is as good as sent."""
    (sending,) = ask(database, organization)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        ThreadPoolExecutor() as threads,
        relaying(database, f"redis://127.0.0.1:{silent.getsockname()[1]}/0") as relay,
    ):
        stuck = threads.submit(relay.send, pokes.queue(organization))
        connection, _ = silent.accept()
        (waiting,) = ask(database, organization)
        with database.engine.begin() as transaction:
            transaction.execute(text("SET LOCAL lock_timeout = '1s'"))
            outbox.drop_unsent(transaction, [sending, waiting])
        connection.close()
        silent.close()
        with pytest.raises(kombu.exceptions.OperationalError):
            stuck.result(30)
    with database.engine.begin() as transaction:
        assert [poke.key for _, poke in outbox.take(transaction, pokes.queue(organization), 10)] == [sending]


_READ = """
    SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables
    WHERE relname IN ('outbox', 'unsent_pokes', 'sent_pokes', 'task_states')
"""
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_TASKS = """
    INSERT INTO task_states (key, plan_key, status, pending_parents)
    SELECT gen_random_uuid(), gen_random_uuid(), 2, 0 FROM generate_series(1, 10000)
"""


def test_a_batch_reads_little_more_than_it_takes_however_many_wait(
    database: Database, valkey: Valkey, organization: str
):
    with relaying(database, valkey.url) as relay:
        # Postgres keeps the plans that it makes while there are few, and does not count them anew at once.
        for _ in range(8):
            ask(database, organization)
            assert relay.send(pokes.queue(organization)) == 1
        ask(database, organization, 10_000)
        database.run(organization, "ours", lambda t: t.pokes.stop(pokes.queue(organization), uuid.uuid4(), 1))
        with database.begin() as connection:
            connection.execute(text(_TASKS))
        assert relay.send(pokes.queue(organization)) == 101
    # A session tells what it has read at its end.
    wait_until(lambda: counted(database, _OTHERS) == 0)
    assert counted(database, _READ) < 2_000
