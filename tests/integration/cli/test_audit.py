"""`orchestrator audit check` on a real server: a true run keeps every promise, and who tampers with it is found."""

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql

from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.audit.violations import Rule, Violation
from orchestrator.client import Client
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine import nodes
from orchestrator.engine.sweeps import stale_queues
from tests.kit.database import opened as opened_database
from tests.kit.messages import new_plan
from tests.kit.partners import Partners, opened, register
from tests.kit.servers import serving

from .commands import run

CHANNEL = "audited"
CHANNELS = {CHANNEL: ["org-1", "org-2"]}
RETENTION = timedelta(days=1)

Tampered = psycopg.Connection[tuple[object, ...]]


def claimed(client: Client, key: str, number: int) -> pb.Attempt:
    asked = pb.ClaimTaskParam(compute_task_key=key, attempt=number, node="node", claim_id=str(uuid.uuid4()))
    return client.worker.ClaimTask(asked).attempt


def run_everything(network: Partners) -> None:
    """Plans that are done, failed and cancelled; a task that was given back and done by a second attempt."""
    done, failed, cancelled, retried, waiting = (network.plan(name=f"plan {number}") for number in range(5))
    for plan in (done, failed, cancelled, retried, waiting):
        plan.submit()
    network.complete(done)
    network.fail(failed.tasks[0].key, pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    network.start(cancelled.tasks[0].key)
    network.data.cancel(cancelled)
    key = retried.tasks[0].key
    attempt = claimed(network.data, key, 1)
    network.data.worker.ReleaseTask(pb.ReleaseTaskParam(attempt=attempt, reason="the worker stops"))
    attempt = claimed(network.data, key, 2)
    model = pb.NewModel(key=str(uuid.uuid4()), compute_task_key=key, compute_task_output_identifier="model")
    model.address.checksum, model.address.storage_address = "0" * 64, "https://store.example/models/2"
    network.data.worker.CompleteTask(pb.CompleteTaskParam(attempt=attempt, models=[model]))
    claimed(network.hub, retried.tasks[1].key, 1)


@pytest.fixture(scope="session")
def ran(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database in which everything was run; nobody is connected to it."""
    name = f"audited_{uuid.uuid4().hex}"
    folder = tmp_path_factory.mktemp("audited")
    with (
        serving(folder, postgres.create_database(name), CHANNELS) as address,
        opened(address, CHANNEL, None) as network,
    ):
        register(network)
        run_everything(network)
        assert run("audit", *options(address), "check")[0] == 0
    return name


@contextmanager
def copied(postgres: Postgres, ran: str) -> Iterator[str]:
    name = f"copy_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (name, ran))))
        yield postgres.url(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def copy(postgres: Postgres, ran: str) -> Iterator[str]:
    """The URL of a database of the test's own in which everything was run."""
    with copied(postgres, ran) as url:
        yield url


class Audited(NamedTuple):
    """A server of a true run.

    Args:
        address: host:port.
        url: of its database.
    """

    address: str
    url: str


@pytest.fixture(scope="module")
def true_run(postgres: Postgres, ran: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    """A server of a database in which everything was run; it stays true whatever the tests add."""
    with (
        copied(postgres, ran) as url,
        serving(tmp_path_factory.mktemp("true"), url, {**CHANNELS, "empty": ["org-2"]}) as address,
    ):
        yield Audited(address, url)


def options(address: str) -> list[str]:
    return ["--address", address, "--org", "org-2", "--channel", CHANNEL]


def count_events(url: str) -> int:
    with psycopg.connect(url) as connection:
        return len(connection.execute("SELECT id FROM events").fetchall())


def whole(channel: str, count: int) -> dict[str, object]:
    """What the audit says of a whole trace that is true."""
    return {"channel": channel, "forgotten_until": None, "events": count, "violations": []}


def rules_of(output: str) -> set[str]:
    return {violation["rule"] for violation in json.loads(output)["violations"]}


def test_a_true_run_keeps_every_promise(true_run: Audited):
    code, output, errors = run("audit", *options(true_run.address), "check")
    assert (code, errors) == (0, "")
    assert "keep every promise" in output
    environment = {"ORCHESTRATOR_DATABASE_URL": true_run.url}
    words = ("check", "--database", "--json")
    code, output, _ = run("audit", *options(true_run.address), *words, environment=environment)
    assert (code, json.loads(output)) == (0, whole(CHANNEL, count_events(true_run.url)))


def test_a_changed_event_is_found(copy: str, tmp_path: Path):
    with psycopg.connect(copy) as connection:
        event_id, key = give_to_another_worker(connection)
    # A server that ran before still has the event as it was in memory.
    with serving(tmp_path, copy, CHANNELS) as address:
        code, output, errors = run("audit", *options(address), "check")
        assert (code, errors.count("\n"), "1 violations" in errors) == (1, 1, True)
        assert output.startswith(f"{Rule.DEFINITION}: {key}: ")
        assert event_id in output
        code, output, _ = run("audit", *options(address), "check", "--json")
        assert (code, rules_of(output)) == (1, {Rule.DEFINITION})


def test_a_changed_task_is_found(copy: str, tmp_path: Path):
    with psycopg.connect(copy) as connection:
        connection.execute("UPDATE task_states SET status = 4 WHERE status = 6")
    with serving(tmp_path, copy, CHANNELS) as address:
        assert run("audit", *options(address), "check")[0] == 0
        environment = {"ORCHESTRATOR_DATABASE_URL": copy}
        code, output, _ = run("audit", *options(address), "check", "--database", "--json", environment=environment)
        assert (code, rules_of(output)) == (1, {Rule.ROW_AS_TOLD, Rule.PENDING_PARENTS})


def test_it_ends_although_others_go_on(true_run: Audited):
    with Client(true_run.address, "org-1", CHANNEL) as client:
        ended = threading.Event()

        def go_on() -> int:
            count = 0
            while not ended.is_set():
                client.plans.RegisterPlan(new_plan())
                count += 1
            return count

        before = count_events(true_run.url)
        with ThreadPoolExecutor(1) as thread:
            registered = thread.submit(go_on)
            try:
                code, output, _ = run("audit", *options(true_run.address), "check", "--json")
            finally:
                ended.set()
            assert (code, json.loads(output)["violations"]) == (0, [])
            assert before <= json.loads(output)["events"] < before + registered.result()


def test_an_empty_channel_is_true(true_run: Audited):
    code, output, _ = run("audit", *options(true_run.address)[:-1], "empty", "check", "--json")
    assert (code, json.loads(output)) == (0, whole("empty", 0))


def test_an_orchestrator_or_a_database_that_is_not_there(true_run: Audited):
    code, output, errors = run("audit", *options(f"127.0.0.1:{free_port()}"), "check")
    assert (code, output, "cannot be reached" in errors) == (3, "", True)
    code, _, errors = run("audit", *options(true_run.address), "check", "--database")
    assert (code, "ORCHESTRATOR_DATABASE_URL" in errors) == (2, True)
    environment = {"ORCHESTRATOR_DATABASE_URL": f"postgresql://nobody:secret@127.0.0.1:{free_port()}/none"}
    code, _, errors = run("audit", *options(true_run.address), "check", "--database", environment=environment)
    assert (code, "could not be read" in errors, "secret" in errors) == (3, True, False)


def give_to_another_worker(connection: Tampered) -> tuple[str, str]:
    """Change who ran a task, in the event of its end."""
    rows = connection.execute(
        "SELECT id, asset FROM events JOIN places ON event = id WHERE asset_kind = 6 ORDER BY position DESC"
    ).fetchall()
    for event_id, asset in rows:
        task = pb.ComputeTask.FromString(bytes(asset))
        if task.status == pb.STATUS_FAILED:
            task.worker = "org-9"
            connection.execute("UPDATE events SET asset = %s WHERE id = %s", (task.SerializeToString(), event_id))
            return str(event_id), task.key
    raise AssertionError("no task has failed")


TAMPERINGS: dict[str, tuple[str, set[Rule]]] = {
    "the first event deleted": (
        "DELETE FROM events USING places WHERE event = id AND position = 1",
        {Rule.POSITIONS},
    ),
    "a place taken": (
        "UPDATE places SET position = position + 1 WHERE position = (SELECT max(position) FROM places)",
        {Rule.POSITIONS},
    ),
    "an event without a place": (
        "DELETE FROM places WHERE position = (SELECT max(position) FROM places)",
        {Rule.POSITIONS},
    ),
    "an event deleted": (
        """
        DELETE FROM events WHERE id = (
            SELECT event FROM places JOIN events ON id = event WHERE asset_kind = 11 ORDER BY position DESC LIMIT 1)
        """,
        {Rule.POSITIONS},
    ),
    "a task made Done": (
        "UPDATE task_states SET status = 4 WHERE status = 3",
        {Rule.ROW_AS_TOLD, Rule.ATTEMPT_ROWS, Rule.PENDING_PARENTS},
    ),
    "a task deleted": (
        "DELETE FROM tasks USING task_states AS state WHERE state.key = tasks.key AND status = 6",
        {Rule.ROW_AS_TOLD},
    ),
    "the state of a task deleted": (
        "DELETE FROM task_states WHERE status = 6",
        {Rule.ROW_AS_TOLD, Rule.PENDING_PARENTS},
    ),
    "a definition replaced": (
        """
        UPDATE tasks SET message = (SELECT message FROM tasks JOIN task_states USING (key) WHERE status = 6)
        FROM task_states AS state WHERE state.key = tasks.key AND status = 3
        """,
        {Rule.ROW_AS_TOLD, Rule.PENDING_PARENTS},
    ),
    "a model taken": (
        "UPDATE models SET message = (SELECT message FROM models ORDER BY position LIMIT 1)",
        {Rule.ROW_AS_TOLD},
    ),
    "a task overwritten": (
        "UPDATE tasks SET message = 'x' FROM task_states AS state WHERE state.key = tasks.key AND status = 6",
        {Rule.ROW_AS_TOLD},
    ),
    "a state under another plan": (
        "UPDATE task_states SET plan_key = gen_random_uuid() WHERE status = 2",
        {Rule.ROW_AS_TOLD},
    ),
    "a function overwritten": ("UPDATE functions SET message = 'x'", {Rule.ROW_AS_TOLD}),
    "a plan deleted": (
        "DELETE FROM compute_plans USING plans WHERE plans.key = compute_plans.key AND ended_at IS NULL",
        {Rule.ROW_AS_TOLD},
    ),
    "a parent not counted": (
        "UPDATE task_states SET pending_parents = 0 WHERE pending_parents = 1",
        {Rule.PENDING_PARENTS},
    ),
    "an edge cut": ("DELETE FROM edges", {Rule.PENDING_PARENTS}),
    "an attempt deleted": ("DELETE FROM attempts WHERE number = 2", {Rule.ATTEMPT_ROWS}),
    "an attempt that nobody began": (
        "UPDATE task_states SET attempts = attempts + 1 WHERE status = 2",
        {Rule.ATTEMPT_ROWS, Rule.POKES},
    ),
    "an attempt that no event tells of": (
        """
        WITH more AS (UPDATE task_states SET attempts = attempts + 1 WHERE status = 2 RETURNING key, attempts)
        INSERT INTO attempts (task_key, number, claimed_at, ended_at, outcome)
        SELECT key, attempts, now() + interval '1 hour', now() + interval '1 hour', 2 FROM more
        """,
        {Rule.ATTEMPT_ROWS, Rule.POKES},
    ),
    "an attempt that goes on": ("UPDATE attempts SET ended_at = NULL WHERE outcome = 4", {Rule.ATTEMPT_ROWS}),
    "an attempt beside another": (
        "UPDATE attempts SET ended_at = ended_at + interval '1 hour' WHERE outcome = 2",
        {Rule.ATTEMPT_ROWS},
    ),
    "another outcome": ("UPDATE attempts SET outcome = 6 WHERE outcome = 4", {Rule.ATTEMPT_ROWS}),
    "no pokes": ("DELETE FROM outbox WHERE message = 'task.run'", {Rule.POKES}),
    "a poke for a later attempt": ("UPDATE outbox SET attempt = attempt + 9 WHERE message = 'task.run'", {Rule.POKES}),
    "a poke of another organization": (
        "UPDATE outbox SET queue = 'org.org-9' WHERE message = 'task.run'",
        {Rule.POKES},
    ),
    "a task whose lost poke would not be repeated": (
        "UPDATE task_states SET poked_at = NULL, due_at = NULL WHERE status = 2",
        {Rule.POKES},
    ),
    "a task whose lost poke would not be found": (
        """
        WITH sent AS (DELETE FROM sent_pokes RETURNING id), unsent AS (DELETE FROM unsent_pokes RETURNING id)
        SELECT id FROM sent UNION ALL SELECT id FROM unsent
        """,
        {Rule.POKES},
    ),
    "a declined task that is poked": (
        """
        WITH more AS (UPDATE task_states SET poked_at = now() WHERE status = 2 RETURNING key, attempts)
        INSERT INTO declines (task_key, channel, worker, plan_key, attempts, declined_at, message)
        SELECT key, channel, worker, plan_key, attempts, now(), '' FROM more JOIN tasks USING (key)
        """,
        {Rule.POKES},
    ),
    "a poke of nothing": ("UPDATE outbox SET key = gen_random_uuid() WHERE message = 'function.build'", {Rule.POKES}),
}


def violations(url: str, poke_retention: timedelta = RETENTION) -> list[Violation]:
    """What the second part of the audit finds."""
    with opened_database(url, pool_size=1) as database:
        return list(stored.check(database, CHANNEL, poke_retention))


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_with_rows_is_found(copy: str, name: str):
    statement, rules = TAMPERINGS[name]
    with psycopg.connect(copy) as connection:
        assert connection.execute(statement).rowcount > 0
    assert {violation.rule for violation in violations(copy)} == rules


def test_pokes_that_were_forgotten_by_their_age_are_not_missed(copy: str):
    with psycopg.connect(copy) as connection:
        waits = "SELECT FROM task_states WHERE task_states.key = outbox.key AND status = 2"
        connection.execute(f"DELETE FROM outbox WHERE message <> 'task.run' OR NOT EXISTS ({waits})")
    assert violations(copy)
    assert violations(copy, timedelta(0)) == []


def test_a_queue_that_was_emptied_is_nothing_wrong(copy: str):
    with opened_database(copy, pool_size=1) as database:
        database.run("org-1", CHANNEL, lambda transaction: nodes.hear(transaction, "node-1", 0, "org.org-1", 1))
        later = datetime.now(UTC) + timedelta(days=2)
        assert stale_queues.empty(database, later, 10, age=timedelta(days=1)) == 1
    assert violations(copy) == []
