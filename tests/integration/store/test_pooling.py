"""A server and a beat whose database lies behind PgBouncer, and what is refused there at start."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psycopg
import pytest

import migrations
from beat.app import QUEUE
from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from orchestrator.store import pooling
from orchestrator.store.pooling import PoolingError
from tests.kit.containers import WorkerContainer
from tests.kit.debian import AbsentError
from tests.kit.messages import new_plan
from tests.kit.organization import Organization
from tests.kit.pgbouncer import pooled, program
from tests.kit.processes import clean_environment
from tests.kit.servers import serving
from tests.kit.transports import Wire
from tests.kit.waiting import wait_until

CLIENTS, ROUNDS = 8, 5


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    """A database with our tables; the module is skipped without PgBouncer."""
    try:
        program()
    except AbsentError as error:
        pytest.skip(f"needs PgBouncer: {error}")
    url = postgres.create_database(f"pooled_{uuid.uuid4().hex}")
    migrations.upgrade(url)
    return url


@pytest.fixture(scope="module")
def by_transaction(database: str) -> Iterator[str]:
    with pooled(database, "transaction") as url:
        yield url


def test_a_pooler_by_transaction_must_be_named_and_gone_past(database: str, by_transaction: str) -> None:
    with pytest.raises(PoolingError, match="set ORCHESTRATOR_DATABASE_POOLING=transaction, and"):
        pooling.check(by_transaction, "session", by_transaction)
    with pytest.raises(PoolingError, match="ORCHESTRATOR_DATABASE_DIRECT_URL goes through a pooler"):
        pooling.check(by_transaction, "transaction", by_transaction)
    pooling.check(by_transaction, "transaction", database)
    pooling.check(database, "session", database)


def test_a_pooler_by_session_needs_nothing_and_one_by_statement_cannot_be(database: str) -> None:
    with pooled(database, "session") as url:
        pooling.check(url, "session", url)
    with pooled(database, "statement") as url, pytest.raises(PoolingError, match="does not allow transactions"):
        pooling.check(url, "session", url)


@pytest.mark.parametrize("command", ["serve", "beat"])
def test_a_process_that_is_told_wrong_says_so_in_one_line(by_transaction: str, tmp_path: Path, command: str) -> None:
    channels = tmp_path / "channels.yaml"
    channels.write_text("channels: {channel: [org-1]}")
    settings = {
        "ORCHESTRATOR_DATABASE_URL": by_transaction,
        "ORCHESTRATOR_CHANNEL_CONFIG": str(channels),
        "ORCHESTRATOR_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", command],
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "hands out sessions by transaction: set ORCHESTRATOR_DATABASE_POOLING" in line


def test_a_server_behind_one_by_transaction_answers_all_calls_and_streams(
    database: str, by_transaction: str, valkey: Valkey, tmp_path: Path
) -> None:
    settings = {
        "ORCHESTRATOR_DATABASE_URL": by_transaction,
        "ORCHESTRATOR_DATABASE_POOLING": "transaction",
        "ORCHESTRATOR_DATABASE_DIRECT_URL": database,
        "ORCHESTRATOR_BROKER_URL": valkey.url,
    }
    beat = WorkerContainer("maintenance", QUEUE, ["beat"], tmp_path, settings)

    def swept() -> bool:
        with psycopg.connect(database) as connection:
            return connection.execute("SELECT FROM sweeps WHERE name = 'sweep.due_retries'").fetchone() is not None

    def work(transport: grpc.Channel) -> list[str]:
        org, plans = Organization(Wire(transport), "org-1", "channel"), []
        for _ in range(ROUNDS):
            plan = org.send(new_plan())
            assert org.plan(plan).key == plan.key
            assert org.task_in("STATUS_DONE", plan).compute_plan_key == plan.key
            plans.append(plan.key)
        return plans

    with (
        serving(tmp_path, by_transaction, {"channel": ["org-1"]}, settings, migrate=False) as address,
        ThreadPoolExecutor(CLIENTS) as threads,
        grpc.insecure_channel(address) as transport,
    ):
        beat.start()
        try:
            org = Organization(Wire(transport), "org-1", "channel")
            org.send(pb.RegisterOrganizationParam())
            stream = org.subscribe(timeout=60)
            plans = {plan for made in threads.map(work, [transport] * CLIENTS) for plan in made}
            assert len(plans) == CLIENTS * ROUNDS
            told = set()
            while not plans <= told:
                event = next(stream)
                if event.asset_kind == pb.ASSET_COMPUTE_PLAN:
                    told.add(event.asset_key)
            wait_until(swept, timeout=30, message="a sweep")
        finally:
            beat.teardown()
            print(beat.logs())
    assert "database.fault" not in (tmp_path / "server.log").read_text() + beat.logs()
