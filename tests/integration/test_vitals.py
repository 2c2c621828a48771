"""What `/metrics` tells of the sweeps and the nodes."""

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from beat import sweeps
from beat.settings import BeatSettings
from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.core.vitals import Vitals
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine import presence, vitals
from orchestrator.engine.sweeps import expired_leases
from orchestrator.engine.transaction import Database
from orchestrator.gateway import monitor
from orchestrator.gateway.metrics import exposition
from orchestrator.gateway.server import application
from orchestrator.trace import places
from tests.kit.member import Member, after, at_once, made
from tests.kit.servers import serving

_OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Samples = dict[tuple[str, ...], float]


def parsed(text: str) -> Samples:
    """Return the samples by their name and the values of their labels, by the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(read: Callable[[], Vitals] | None) -> httpx.Response:
    async def ready() -> None:
        """It is, always."""

    async def get() -> httpx.Response:
        exposed = partial(exposition, REGISTRY, read) if read else None
        transport = httpx.ASGITransport(application(monitor.routes(ready, exposed)))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.get("/metrics")

    return asyncio.run(get())


def samples(database: Database) -> Samples:
    answer = scraped(lambda: vitals.read(database))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return parsed(answer.text)


@pytest.fixture
def network(database: Database) -> Member:
    return Member(database)


def test_it_is_told_when_a_server_noted_that_it_serves(database: Database, network: Member):
    shown = ("orchestrator_presence_age_seconds",)
    assert shown not in samples(database)
    with database.engine.begin() as connection:
        presence.note(connection, database.rules.gap)
    assert samples(database)[shown] < 60
    network.execute("UPDATE service SET served_at = served_at - interval '100 seconds'")
    assert samples(database)[shown] == pytest.approx(100, abs=30)


def test_a_sweep_tells_when_it_ran_and_what_it_repaired(database: Database, network: Member):
    sweep = made(expired_leases, database)
    assert ("orchestrator_sweep_age_seconds", sweep.name) not in samples(database)
    sweep.sweep(database, after(-100))
    shown = samples(database)
    assert shown["orchestrator_sweep_age_seconds", sweep.name] == pytest.approx(100, abs=30)
    assert shown["orchestrator_sweep_repaired_total", sweep.name] == 0
    for task in network.register(3):
        network.claim(task)
    sweep.sweep(database, after(3600))
    shown = samples(database)
    assert shown["orchestrator_sweep_age_seconds", sweep.name] == 0
    assert shown["orchestrator_sweep_repaired_total", sweep.name] == 3


def test_a_sweep_that_breaks_is_late(database: Database):
    sweep = made(expired_leases, database)
    sweep.sweep(database, after(-100))
    other = Database(database.url, 1)
    with pytest.raises(ZeroDivisionError):
        type(sweep)(sweep.name, sweep.period, sweep.batch, lambda *_: 1 // 0).sweep(other, after(0))
    other.close()
    assert samples(database)["orchestrator_sweep_age_seconds", sweep.name] >= 100


def test_an_older_run_that_ends_later_takes_nothing_back(database: Database):
    sweep = made(expired_leases, database)
    sweep.sweep(database, after(-10))
    sweep.sweep(database, after(-100))
    assert samples(database)["orchestrator_sweep_age_seconds", sweep.name] < 60


def test_two_sweeps_at_once_count_together(database: Database, network: Member):
    for task in network.register(10):
        network.claim(task)
    sweep = made(expired_leases, database)
    now = after(3600)
    at_once(*[lambda: sweep.sweep(database, now)] * 2)
    sweep.sweep(database, now)
    assert samples(database)["orchestrator_sweep_repaired_total", sweep.name] == 10


def test_every_sweep_shows_itself(database: Database):
    url = "redis://unused"
    settings = BeatSettings(database_url=database.url, broker_url=url, event_retention="90d", attempt_retention="90d")
    every = sweeps.make(settings)
    assert len(every) == len(sweeps.make(BeatSettings(database_url=database.url, broker_url=url))) + 2
    for sweep in every:
        sweep.sweep(database, after(0))
        assert ("orchestrator_sweep_age_seconds", sweep.name) in samples(database)


def test_a_node_tells_since_when_it_is_silent(database: Database, network: Member):
    (task,) = network.register()
    network.heartbeat(network.claim(task).attempt, node='a"\n')
    Member(database, channel="other").heartbeat(node="b")
    network.execute("UPDATE nodes SET heard_at = heard_at - :silent WHERE name = 'b'", silent=timedelta(hours=1))
    shown = samples(database)
    assert shown["orchestrator_node_silent_seconds", "channel", 'a"\n', "org-1"] < 30
    assert shown["orchestrator_node_attempts", "channel", 'a"\n', "org-1"] == 1
    assert shown["orchestrator_node_silent_seconds", "other", "b", "org-1"] == pytest.approx(3600, abs=30)
    assert shown["orchestrator_database_reachable",] == 1


def test_a_queue_tells_since_when_nobody_reads_it(database: Database, network: Member):
    network.heartbeat(node="a")
    Member(database, "org-2").heartbeat(node="b")
    Member(database, "org-3")
    network.execute("DELETE FROM nodes")
    network.execute("UPDATE queues SET heard_at = heard_at - interval '1 hour' WHERE name = 'org.org-2'")
    shown = samples(database)
    assert shown["orchestrator_queue_unread_seconds", "org.org-1"] < 30
    assert shown["orchestrator_queue_unread_seconds", "org.org-2"] == pytest.approx(3600, abs=30)
    assert ("orchestrator_queue_unread_seconds", "org.org-3") not in shown


def test_the_sequencer_tells_how_long_the_first_event_has_waited(database: Database, network: Member):
    network.register()
    network.execute("UPDATE events SET created_at = created_at - interval '100 seconds'")
    assert samples(database)["orchestrator_sequencer_lag_seconds",] == pytest.approx(100, abs=30)
    with database.begin() as connection:
        places.place(connection, 1000)
    assert samples(database)["orchestrator_sequencer_lag_seconds",] == 0


def test_without_a_database_the_rest_is_shown():
    nowhere = Database(f"postgresql://nobody@127.0.0.1:{free_port()}/none", 1)
    answer = scraped(lambda: vitals.read(nowhere))
    nowhere.close()
    assert answer.status_code == 200
    shown = parsed(answer.text)
    assert shown["orchestrator_database_reachable",] == 0
    assert any(name == "process_start_time_seconds" for name, *_ in shown)
    assert not any(name.startswith(("orchestrator_sweep", "orchestrator_node")) for name, *_ in shown)


def test_metrics_are_not_there_unless_asked_for():
    assert scraped(None).status_code == 404


def test_the_server_shows_them(postgres: Postgres, tmp_path: Path):
    url = postgres.create_database(f"vitals_{uuid.uuid4().hex}")
    http = f"127.0.0.1:{free_port()}"
    settings = {"ORCHESTRATOR_METRICS_ENABLED": "true", "ORCHESTRATOR_HTTP_ADDRESS": http}
    with serving(tmp_path, url, {"channel": ["org-1"]}, settings) as address:
        database = Database(url, 2)
        made(expired_leases, database).sweep(database, after(0))
        member = Member(database)
        member.heartbeat(node="node-1")
        (task,) = member.register()
        member.execute("UPDATE outbox SET created_at = created_at - interval '20 seconds'")
        with Client(address, "org-1", "channel") as client:
            client.worker.ClaimTask(pb.ClaimTaskParam(compute_task_key=str(task), claim_id="one"))
        database.close()
        page = httpx.get(f"http://{http}/metrics", headers={"accept": _OPENMETRICS}, trust_env=False, timeout=60)
        assert page.headers["content-type"].startswith("text/plain")
        shown = parsed(page.text)
    assert shown["orchestrator_task_schedule_to_start_seconds_count", "org-1"] == 1
    assert 20 <= shown["orchestrator_task_schedule_to_start_seconds_sum", "org-1"] < 60
    assert shown["orchestrator_sweep_age_seconds", "sweep.expired_leases"] < 60
    assert shown["orchestrator_node_silent_seconds", "channel", "node-1", "org-1"] < 60
