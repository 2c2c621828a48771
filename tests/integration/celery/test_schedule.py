"""The beat whose maintenance worker hangs, is killed in part or whole, or loses its broker, with real processes."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from kombu.exceptions import OperationalError
from pydantic import SecretStr
from structlog.testing import capture_logs

import migrations
from beat.app import QUEUE, make_app
from beat.scheduler import Scheduler
from beat.settings import BeatSettings
from orchestrator.core import pokes
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from tests.kit.containers import WorkerContainer
from tests.kit.processes import lives
from tests.kit.waiting import wait_until

# Many sweeps a second.
OFTEN = {
    f"ORCHESTRATOR_{name}_PERIOD": "100ms"
    for name in ("LOST_POKE", "EXPIRED_LEASE", "DUE_RETRY", "UNACKNOWLEDGED_STOP", "STUCK_TASK", "STALE_QUEUE")
}
RAN = "Task sweep.due_retries"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    url = postgres.create_database(f"beat_{uuid.uuid4().hex}")
    migrations.upgrade(url)
    return url


def maintenance(broker: Valkey, database_url: str, folder: Path, **more: str) -> WorkerContainer:
    settings = {"ORCHESTRATOR_BROKER_URL": broker.url, "ORCHESTRATOR_DATABASE_URL": database_url, **OFTEN, **more}
    return WorkerContainer("maintenance", QUEUE, ["beat"], folder, settings)


@contextmanager
def sweeping(broker: Valkey, database_url: str, folder: Path, **more: str) -> Iterator[WorkerContainer]:
    more = {"ORCHESTRATOR_LOG_LEVEL": "DEBUG", **more}
    container = maintenance(broker, database_url, folder, **more)
    container.start()
    try:
        wait_until(lambda: runs(container), timeout=30, message="the first sweep")
        yield container
    finally:
        container.teardown()
        print(container.logs())


@pytest.fixture
def beat(broker: Valkey, database_url: str, tmp_path: Path) -> Iterator[WorkerContainer]:
    with sweeping(broker, database_url, tmp_path) as container:
        yield container


def runs(beat: WorkerContainer) -> int:
    return sum(RAN in line and "succeeded" in line for line in beat.logs().splitlines())


def silences(beat: WorkerContainer) -> tuple[int, int]:
    """Return how often the beat has said that nobody takes its sweeps, and that somebody does again."""
    log = beat.logs()
    return log.count("sweeps.not_taken"), log.count("sweeps.taken_again")


def holds_back(beat: WorkerContainer) -> bool:
    not_taken, taken_again = silences(beat)
    return not_taken > taken_again


def fired(beat: WorkerContainer) -> int:
    return beat.logs().count("Sending due task")


@contextmanager
def hanging(database_url: str) -> Iterator[None]:
    """Let no sweep end: none can note that it ran."""
    with psycopg.connect(database_url) as connection:
        connection.execute("LOCK TABLE sweeps")
        yield


def test_a_worker_that_hangs_does_not_fill_the_queue_and_goes_on_afterwards(
    broker: Valkey, database_url: str, beat: WorkerContainer
) -> None:
    with redis.Redis.from_url(broker.url) as client:

        def waiting() -> int:
            return int(client.llen(pokes.key_prefix(pokes.MAINTENANCE) + QUEUE))

        with hanging(database_url):
            wait_until(lambda: holds_back(beat), timeout=30, message="the beat to hold back")
            full, before, said = waiting(), fired(beat), silences(beat)
            wait_until(lambda: fired(beat) > before + 60, timeout=30, message="many more sweeps to be due")
            assert waiting() <= full + 1
            assert silences(beat) == said
        before = runs(beat)
        wait_until(lambda: silences(beat)[1] > said[1], timeout=30, message="the beat to fire again")
        wait_until(lambda: runs(beat) > before + 5, timeout=30, message="sweeps to run again")


def test_a_sweep_that_hangs_is_ended_and_the_others_go_on(broker: Valkey, database_url: str, tmp_path: Path) -> None:
    with sweeping(broker, database_url, tmp_path, ORCHESTRATOR_SWEEP_TIME_LIMIT="1s") as beat:
        with hanging(database_url):
            wait_until(lambda: "time limit" in beat.logs(), timeout=30, message="the end of a sweep that hangs")
        before = runs(beat)
        wait_until(lambda: runs(beat) > before + 5, timeout=30, message="sweeps to run again")


def test_each_of_its_processes_is_started_again(beat: WorkerContainer) -> None:
    """One is the clock, one sweeps."""
    whole = psutil.Process(beat.process.pid)
    first = whole.children()
    assert len(first) == 2
    for child in first:
        child.kill()
        before, sent = runs(beat), fired(beat)
        wait_until(lambda before=before: runs(beat) > before + 5, timeout=30, message="sweeps to run again")
        wait_until(lambda sent=sent: fired(beat) > sent + 60, timeout=30, message="sweeps to be fired again")
    assert len(whole.children()) == 2
    assert beat.logs().count("clock.died") == 1


def test_it_ends_when_it_is_told_to_though_its_processes_were_just_killed(beat: WorkerContainer) -> None:
    for child in psutil.Process(beat.process.pid).children():
        child.kill()
    sent = fired(beat)
    wait_until(lambda: fired(beat) > sent, timeout=30, message="a sweep to be fired again")
    beat.kill("SIGTERM")
    # A sweep that was sent to the pool and not begun is forgotten when a worker ends; Celery waits 30 s for its result.
    wait_until(lambda: beat.status == "exited", timeout=60, message="the end")


@pytest.mark.parametrize("away", [False, True])
def test_no_process_of_it_lives_on_alone(broker: Valkey, beat: WorkerContainer, away: bool) -> None:
    children = psutil.Process(beat.process.pid).children()
    assert len(children) == 2
    if away:
        broker.stop()
        wait_until(lambda: "beat: Connection error" in beat.logs(), timeout=30, message="the clock to miss the broker")
    os.kill(beat.process.pid, signal.SIGKILL)
    wait_until(lambda: not any(lives(child) for child in children), timeout=30, message="all to end")


def test_a_sweep_is_put_off_in_one_line_while_the_database_is_away() -> None:
    away = SecretStr(f"postgresql://{HOST}:{free_port()}/none")
    app = make_app(BeatSettings(broker_url=SecretStr("redis://unused"), database_url=away))
    with capture_logs() as lines:
        app.tasks["sweep.due_retries"]()
    said = [line for line in lines if line["event"] != "database.fault"]
    reason = "the database is not available; try again later"
    wanted = {"event": "sweep.put_off", "log_level": "warning", "sweep": "sweep.due_retries", "reason": reason}
    assert said == [wanted]


def test_a_clock_that_gave_up_on_its_broker_fires_when_that_is_back(broker: Valkey) -> None:
    """A sweep that could not be sent is passed over; those that come later are not."""
    url = SecretStr("postgresql://127.0.0.1/unused")
    scheduler = Scheduler(make_app(BeatSettings(broker_url=SecretStr(broker.url), database_url=url)))
    entries = list(scheduler.schedule.values())

    def fire() -> None:
        for entry in entries:
            scheduler.apply_async(entry, producer=scheduler.producer, advance=False)

    fire()
    for _ in range(2):
        broker.stop()
        with pytest.raises(OperationalError):
            fire()
        broker.start()
        fire()
    with redis.Redis.from_url(broker.url) as client:
        assert client.llen(pokes.key_prefix(pokes.MAINTENANCE) + QUEUE) == len(entries)


def test_it_fires_again_when_its_broker_is_back(broker: Valkey, beat: WorkerContainer) -> None:
    broker.stop()
    wait_until(lambda: "Error" in beat.logs(), timeout=30, message="the broker to be missed")
    before = runs(beat)
    broker.start()
    wait_until(lambda: runs(beat) > before + 5, timeout=60, message="sweeps to run again")
    assert beat.status == "running"


def test_an_idle_beat_is_silent_and_all_that_it_says_is_json(broker: Valkey, database_url: str, tmp_path: Path) -> None:
    beat = maintenance(broker, database_url, tmp_path)

    def swept() -> object:
        with psycopg.connect(database_url) as connection:
            return connection.execute("SELECT ran_at FROM sweeps WHERE name = 'sweep.due_retries'").fetchone()

    beat.start()
    try:
        beat.ready()
        for _ in range(5):
            before = swept()
            wait_until(lambda before=before: swept() != before, timeout=30, message="a sweep")
        said = beat.logs()
        os.kill(beat.process.pid, signal.SIGTERM)
        wait_until(lambda: not beat.process.alive, timeout=30, message="the end")
    finally:
        beat.teardown()
    lines = [json.loads(line) for line in beat.logs().splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    assert "sweep." not in said
    assert len(said.splitlines()) < 10
