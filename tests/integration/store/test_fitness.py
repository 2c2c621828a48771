"""A server and a beat whose role may read and write rows, and nothing else, as the page on the database says."""

import re
import uuid
from pathlib import Path

import grpc
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from structlog.testing import capture_logs

import migrations
from beat import sweeps
from beat.settings import BeatSettings
from orchestrator import protos as pb
from orchestrator.embedded import postgres_binaries
from orchestrator.embedded.postgres import Postgres
from orchestrator.store import fitness
from orchestrator.store.connection import transaction_on
from orchestrator.trace.event_ids import new_ids
from tests.kit.database import opened
from tests.kit.member import after
from tests.kit.organization import Organization
from tests.kit.servers import serving
from tests.kit.transports import Wire

PAGE = (Path(__file__).parents[3] / "docs" / "operate" / "database.md").read_text()
GRANTS, REVOKED = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SERVER, OWNER, AUDITOR = "orchestrator_server", "orchestrator_owner", "orchestrator_auditor"
OLD = -400 * 86400.0


class Roles:
    """A database that was set up by the page's commands, and its URL for each of its roles."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._name = f"roles_{uuid.uuid4().hex}"
        self._suffix = f"_{uuid.uuid4().hex[:8]}"
        self.root = postgres.create_database(self._name)

    def run(self, statements: str) -> None:
        # Roles are the whole server's, and others may have made them.
        named = re.sub(r"\borchestrator_\w+\b", lambda found: found[0] + self._suffix, statements)
        with psycopg.connect(self.root, autocommit=True) as connection:
            connection.execute(named)

    def url(self, role: str) -> str:
        to = conninfo_to_dict(self.root)
        password = {OWNER: "one", SERVER: "two", AUDITOR: "three"}[role]
        return f"postgresql://{role}{self._suffix}:{password}@{to['host']}:{to['port']}/{self._name}"


@pytest.fixture(scope="module")
def roles(postgres: Postgres) -> Roles:
    roles = Roles(postgres)
    roles.run(GRANTS)
    migrations.upgrade(roles.url(OWNER))
    roles.run(REVOKED)
    return roles


def test_a_server_and_every_sweep_work_with_rows_alone(roles: Roles, tmp_path: Path, monkeypatch) -> None:
    for name in ("EVENT_RETENTION", "ATTEMPT_RETENTION"):
        monkeypatch.setenv(f"ORCHESTRATOR_{name}", "30d")
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", roles.url(SERVER))
    monkeypatch.setenv("ORCHESTRATOR_BROKER_URL", "redis://127.0.0.1:1/0")
    with (
        serving(tmp_path, roles.url(SERVER), {"channel": ["org-1"]}, migrate=False) as address,
        grpc.insecure_channel(address) as transport,
    ):
        org = Organization(Wire(transport), "org-1", "channel")
        org.send(pb.RegisterOrganizationParam())
        task = org.task_in("STATUS_DONE")
        org.claim_and_complete(org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT"))
        org.cancel_plan(org.register_plan())
        assert org.status(task) == "STATUS_DONE"
    assert "permission denied" not in (tmp_path / "server.log").read_text()
    with opened(roles.url(SERVER)) as database, capture_logs() as logs:
        for sweep in sweeps.make(BeatSettings()):
            # Far ahead: months are made, and the first is forgotten and dropped.
            for seconds in (0, -OLD):
                sweep.sweep(database, after(seconds))
    assert not [line for line in logs if line["event"] == "sweep.not_allowed"]
    assert [line for line in logs if line["event"] == "partitions.dropped"]


def test_the_role_of_a_server_changes_no_table_and_makes_no_other(roles: Roles) -> None:
    (low,) = new_ids(after(0), 1)
    for forbidden in (
        "CREATE TABLE mine (id integer)",
        "DROP TABLE tasks",
        "ALTER TABLE tasks ADD COLUMN mine integer",
        "UPDATE compatibility SET serves_from = '9999'",
        "UPDATE alembic_version SET version_num = '9999'",
        "SELECT events_drop('tasks')",
        "SELECT events_drop('events_default')",
        f"SELECT events_make('tasks', '{low}', '{low}')",
    ):
        with (
            psycopg.connect(roles.url(SERVER)) as connection,
            pytest.raises(psycopg.Error, match=r"must be|denied|month"),
        ):
            connection.execute(forbidden)
    with psycopg.connect(roles.url(AUDITOR)) as connection:
        connection.execute("SELECT count(*) FROM events, compatibility")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT events_hold()")


def test_a_sweep_that_is_not_allowed_says_so_in_one_line(roles: Roles) -> None:
    partitions = next(each for each in sweeps.make(_settings(roles)) if each.name == "sweep.event_partitions")
    with opened(roles.url(AUDITOR)) as database, capture_logs() as logs:
        assert partitions.sweep(database, after(10 * -OLD)) == 0
    (line,) = logs
    assert (line["event"], line["sweep"]) == ("sweep.not_allowed", "sweep.event_partitions")
    assert "permission denied for function events_hold" in line["reason"]


def _settings(roles: Roles) -> BeatSettings:
    return BeatSettings.model_validate({"database_url": roles.url(AUDITOR), "broker_url": "redis://127.0.0.1:1/0"})


def test_a_role_that_lacks_something_is_told_what_at_start(roles: Roles) -> None:
    with opened(roles.url(AUDITOR)) as database, transaction_on(database.engine) as connection:
        complaint = fitness.complaint(connection)
    assert "lacks DELETE, INSERT, UPDATE on attempts, " in complaint
    assert "docs/operate/database.md" in complaint
    assert "\n" not in complaint
    with opened(roles.url(SERVER)) as database, transaction_on(database.engine) as connection:
        assert not fitness.complaint(connection)


def test_an_old_postgres_is_refused(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitness.OLDEST == postgres_binaries.OLDEST
    monkeypatch.setattr(fitness, "OLDEST", 999)
    with opened(roles.url(SERVER)) as database, transaction_on(database.engine) as connection:
        complaint = fitness.complaint(connection)
    assert re.fullmatch(r"the database is Postgres [^\n]+, which is not supported: 999 or newer is needed", complaint)
