"""A server and a beat whose role may read and write rows, and nothing else, as the page on the database says."""

import json
import re
import socket
import uuid
from pathlib import Path

import grpc
import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from structlog.testing import capture_logs

import migrations
from beat import sweeps
from beat.settings import BeatSettings
from orchestrator import protos as pb
from orchestrator.embedded import postgres_binaries
from orchestrator.embedded.ports import free_port
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


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_problems_and_executions_are_served_with_rows_alone_and_over_ipv6(roles: Roles, tmp_path: Path) -> None:
    problems, executions = f"[::1]:{free_port()}", f"[::1]:{free_port()}"
    settings = {
        "ORCHESTRATOR_PROBLEMS_ADDRESS": problems,
        "ORCHESTRATOR_PROBLEMS_IDENTITY": "open",
        "ORCHESTRATOR_PROBLEMS_ORGANIZATION": "org-6",
        "ORCHESTRATOR_PROBLEMS_CHANNEL": "channel",
        "ORCHESTRATOR_HTTP_ADDRESS": executions,
        "ORCHESTRATOR_API_IDENTITY": "open",
        "ORCHESTRATOR_API_ORGANIZATION": "org-6",
        "ORCHESTRATOR_API_CHANNEL": "channel",
        "ORCHESTRATOR_EXECUTIONS_RUNTIME": "on",
        "MEDIA_ROOT": str(tmp_path / "media"),
        "ALLOWED_HOSTS": "[::1]",
    }
    url = roles.url(SERVER)
    with serving(tmp_path, url, {"channel": ["org-6"]}, settings, address=f"[::1]:{free_port()}", migrate=False) as at:
        with grpc.insecure_channel(at) as transport:
            Organization(Wire(transport), "org-6", "channel").send(pb.RegisterOrganizationParam())
        with httpx.Client(base_url=f"http://{problems}", trust_env=False, timeout=30) as front:
            assert front.post("/user_input", json={"problem_short_description": "a"}).status_code == 200
            task = {"problem_id": 1, "iteration_id": 1}
            for command in ("PREEMPT_TASK", "RESET_TASK", "TERMINATE_TASK"):
                assert front.post("/api/control", json={"cmd_task": command, "task_id": task}).status_code == 202
            assert front.post("/api/control", json={"cmd_node": "STOP_NODE", "target_node": "ALL"}).status_code == 202
            assert front.post("/api/problems/1/iterations", json={"from": 1, "start": False}).status_code == 201
            assert front.delete("/api/problems/1/iterations/1").status_code == 204
            assert front.get("/api/problems").json()["problems"][0]["iterations"] == 1
        with httpx.Client(base_url=f"http://{executions}", trust_env=False, timeout=30) as portal:
            assert (kept := stored(portal)).status_code == 201, kept.text
            parts = {"data": (None, json.dumps(_EXECUTION)), "main_version_user_vars": ("v.json", b"{}")}
            started = portal.post("/api/executions/", files=parts)
            assert started.status_code == 201, started.text
            assert started.json()["url"] == f"http://{executions}/api/executions/1/"
            assert portal.patch(started.json()["url"] + "update_to_running/").status_code == 200
            assert portal.delete("/api/schemas/ours/").status_code == 204
    log = (tmp_path / "server.log").read_text()
    assert "permission denied" not in log
    assert "Traceback" not in log


_INPUTS = {"platform_data": False, "external_data": False, "federated_learning_configuration": False}
_SCHEMA = {
    "name": "ours",
    "type": "individual",
    "implementation": "argo_workflows",
    "description": "takes nothing",
    "input_elements": _INPUTS,
    "ai_elements": {
        "ai_engines": [
            {"descriptor": "main", "role_type": "*", "functionalities": ["training_from_scratch"], "ai_model": False}
        ]
    },
    "output_elements": {"ai_model": False, "evaluation_metrics": False, "generic_file": False},
}
_EXECUTION = {
    "schema": "ours",
    "input_elements": {},
    "ai_elements": {"ai_engines": [{"descriptor": "main", "version": 1}]},
    "output_elements": {},
}


def stored(portal: httpx.Client) -> httpx.Response:
    workflow = b"kind: Workflow\nmetadata: {generateName: a-}\nspec: {entrypoint: main, templates: []}"
    files = {"data": (None, json.dumps(_SCHEMA)), "auxiliary_file": ("w.yaml", workflow)}
    return portal.post("/api/schemas/", files=files)


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
