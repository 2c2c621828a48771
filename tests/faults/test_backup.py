"""The page on backups: a dump in mid-plan that is restored elsewhere afterwards, and the way back to a moment."""

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

import migrations
from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.postgres_binaries import find_binaries
from orchestrator.embedded.users import unprivileged_user
from orchestrator.engine.transaction import Database
from tests.kit.member import Member
from tests.kit.processes import clean_environment
from tests.kit.stage import ORGANIZATIONS, Stage
from tests.kit.temporary import passable
from tests.kit.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs/operate/backup.md").read_text()
BLOCKS = dict(re.findall(r"^```(?:sh|ini) (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
SECONDS = 3.0
SERVING = ("beat", "serve")


def run(name: str, words: dict[str, str], settings: dict[str, str] | None = None) -> str:
    """Run a block of the page with other words; return what it printed."""
    commands = BLOCKS[name]
    for there, here in words.items():
        commands = commands.replace(there, here)
    path = os.pathsep.join(map(str, (Path(sys.executable).parent, find_binaries(), os.defpath)))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env={**clean_environment(settings), "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_a_dump_in_mid_plan_restored_elsewhere_ends_every_plan_right(stage: Stage, postgres: Postgres, tmp_path: Path):
    places, elsewhere = stage.federation.places, f"restored_{uuid.uuid4().hex}"
    words = {
        "postgresql://orchestrator_owner:one@database.example:5432/orchestrator": places.database_url,
        "postgresql://orchestrator_owner:one@elsewhere.example:5432/orchestrator": postgres.url(elsewhere),
        "postgresql://postgres@elsewhere.example:5432/postgres": postgres.url(),
        "postgresql://postgres@elsewhere.example:5432/orchestrator": postgres.url(elsewhere),
        "DATABASE orchestrator": f"DATABASE {elsewhere}",
        "/backup": str(tmp_path),
    }
    ended = stage.plan(1)
    ended.wait()
    plan = stage.plan(2, 1, stage.function(SECONDS))
    wait_until(lambda: plan.begun(1) and plan.states()["EXECUTING"], 60, "the plan to be in its middle")
    run("dump", words)
    plan.wait()
    assert [*ended.faults(), *plan.faults()] == []
    run("restore", words)
    assert "revision" in run("check", words)
    left = states(postgres.url(elsewhere), plan.plan.key)
    assert pb.STATUS_DONE in left
    assert set(left) - {pb.STATUS_DONE}, "the dump is of its middle"
    before = places.database_url
    try:
        move(stage, postgres.url(elsewhere))
        assert stage.client().wait(plan.plan, bar=False) == "Done"
        assert stage.client().wait(ended.plan, bar=False) == "Done"
        assert set(states(postgres.url(elsewhere), plan.plan.key)) == {pb.STATUS_DONE}
        # What is new goes on there.
        assert stage.client().wait(stage.plan(1).plan, bar=False) == "Done"
        certificates = stage.federation.certificates(ORGANIZATIONS[0])
        said = run(
            "audit",
            words,
            {
                "ORCHESTRATOR_ADDRESS": places.address,
                "ORCHESTRATOR_ORGANIZATION": ORGANIZATIONS[0],
                "ORCHESTRATOR_CHANNELS": stage.federation.channel,
                "ORCHESTRATOR_CLIENT_CA_CERT": str(certificates.authority),
                "ORCHESTRATOR_CLIENT_CERT": str(certificates.certificate),
                "ORCHESTRATOR_CLIENT_KEY": str(certificates.key),
            },
        )
        assert "keep every promise" in said
    finally:
        move(stage, before)


def move(stage: Stage, url: str) -> None:
    """End the server and the beat, and start them on another database."""
    for name in SERVING:
        process = stage.service(name)
        process.stop()
        assert process.environment is not None
        process.environment["ORCHESTRATOR_DATABASE_URL"] = url
    stage.restore()


def states(url: str, plan: str) -> list[int]:
    """Return the states of a plan's tasks in a database."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT status FROM task_states WHERE plan_key = %s", [plan])]


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A folder that the server's user may write to, with one for its log."""
    folder = passable(tmp_path) / "backup"
    (folder / "wal").mkdir(parents=True)
    own(folder)
    return folder


def home(folder: Path) -> Path:
    """Make a folder for a server."""
    folder.mkdir()
    return passable(folder)


def own(folder: Path) -> None:
    """Give a folder with all that is in it to the server's user."""
    if user := unprivileged_user():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *user)


@pytest.fixture
def archived(backup: Path) -> Iterator[Postgres]:
    """A server that archives its log as the page says."""
    lines = [line.partition(" = ") for line in BLOCKS["archive.conf"].splitlines()]
    settings = {name: value.strip("'").replace("/backup", str(backup)) for name, _, value in lines}
    server = Postgres(home(backup.parent / "first"), settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


def test_the_database_goes_back_to_a_moment(archived: Postgres, backup: Path):
    url = archived.create_database("orchestrator")
    migrations.upgrade(url)
    with closing(Database(url, 1)) as database:
        member = Member(database)
        words = {"postgresql://postgres@database.example:5432/postgres": archived.url(), "/backup": str(backup)}
        run("base", words)
        kept = member.new_plan().key
        moment = now(url)
        lost = member.new_plan().key
    with psycopg.connect(url, autocommit=True) as connection:
        (last,) = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone() or ("",)
        wait_until(lambda: (backup / "wal" / last).exists(), 30, "the log to be archived")
    archived.stop()
    second = Postgres(home(backup.parent / "second"))
    words |= {"/var/lib/postgresql/restored": str(backup.parent / "second/data"), "MOMENT": moment.isoformat(" ")}
    run("back", words)
    own(backup.parent / "second/data")
    shutil.copy(backup.parent / "first/password", backup.parent / "second/password")
    try:
        second.start()
        url = second.url("orchestrator")
        wait_until(lambda: not in_recovery(url), 30, "the server to be promoted")
        with psycopg.connect(url) as connection:
            found = {str(key) for (key,) in connection.execute("SELECT key FROM compute_plans")}
        assert kept in found
        assert lost not in found
        assert migrations.state(url).serves
    finally:
        second.destroy()


def now(url: str) -> datetime:
    """Return the time of the database."""
    with psycopg.connect(url) as connection:
        (found,) = connection.execute("SELECT clock_timestamp()").fetchone() or (datetime.min,)
        return found


def in_recovery(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT pg_is_in_recovery()").fetchone() != (False,)
