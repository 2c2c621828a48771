"""A server and a beat whose machines' clocks are minutes off, while an attempt runs: nobody takes it for lost."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import psycopg
import pytest

from beat.app import QUEUE
from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from tests.kit.clocks import faked, off_by
from tests.kit.containers import BrokerContainer, WorkerContainer
from tests.kit.messages import new_key
from tests.kit.organization import Organization
from tests.kit.servers import serving
from tests.kit.transports import Wire
from tests.kit.waiting import wait_until

AHEAD, BEHIND = "+120s", "-120s"


@pytest.fixture(scope="module")
def library() -> Iterator[Path]:
    with faked() as found:
        yield found


def test_no_attempt_is_lost_for_two_clocks_that_differ(
    library: Path, broker_container: BrokerContainer, postgres: Postgres, tmp_path: Path
) -> None:
    database = postgres.create_database(f"clocks_{uuid.uuid4().hex}")
    settings = {
        "ORCHESTRATOR_BROKER_URL": broker_container.valkey.url,
        "ORCHESTRATOR_DATABASE_URL": database,
        "ORCHESTRATOR_LEASE": "3s",
        "ORCHESTRATOR_EXPIRED_LEASE_PERIOD": "200ms",
    }
    sweeps = WorkerContainer("maintenance", QUEUE, ["beat"], tmp_path, {**settings, **off_by(library, AHEAD)})
    with (
        serving(tmp_path, database, {"channel": ["org-1"]}, {**settings, **off_by(library, BEHIND)}) as address,
        grpc.insecure_channel(address) as transport,
        psycopg.connect(database, autocommit=True) as connection,
    ):
        org = Organization(Wire(transport), "org-1", "channel")
        org.send(pb.RegisterOrganizationParam())
        task = org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT")
        sweeps.start()
        try:
            claimed = org.send(pb.ClaimTaskParam(compute_task_key=task.key, claim_id=new_key()))

            def swept() -> int:
                """How often it was looked for lost attempts, after the server had served for a lease."""
                org.send(pb.HeartbeatParam(node="node-1", attempts=[claimed.attempt], slots=1))
                told = connection.execute(
                    """
                    SELECT ran_at FROM sweeps WHERE name = 'sweep.expired_leases'
                      AND (SELECT served_since FROM service) < now() - interval '4 s'
                    """
                ).fetchone()
                times.update([told] if told else [])
                return len(times)

            times: set[object] = set()
            wait_until(lambda: swept() >= 5, timeout=30, message="some sweeps")
            assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (1,)
            assert org.status(task) == "STATUS_EXECUTING"
            # One that nobody renews is lost all the same.
            wait_until(lambda: org.status(task) != "STATUS_EXECUTING", timeout=30, message="the end of the lease")
        finally:
            sweeps.teardown()
            print(sweeps.logs())
