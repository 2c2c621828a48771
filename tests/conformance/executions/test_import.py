"""`orchestrator executions import`: our own server is the other service, and a database of its own takes all in."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.main import main
from orchestrator.core.errors import NotFoundError
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import Database
from orchestrator.executions import executions, schemas, states
from orchestrator.executions.files.storage import Files
from orchestrator.executions.runtimes import adapters
from orchestrator.gateway.executions.answers import Answers
from tests.kit.database import copied

ALL_INPUTS = {"platform_data": True, "external_data": True, "report_metadata": True}
FEDERATED = {"platform_data": True, "federated_learning_configuration": True}


class Newcomer:
    """The service that takes over.

    Args:
        portal: of the service that is left.
        database: of the new one.
        root: where its files are.
    """

    def __init__(self, portal, database: Database, root: Path):
        self.portal, self.database, self.root = portal, database, root
        self.answers = Answers(f"http://{portal.host}", "maas.example:8000", ZoneInfo("Europe/Madrid"))
        self.files = Files(str(root))

    def take_over(self, *arguments: str, url: str = "") -> Result:
        environment = {
            "ORCHESTRATOR_DATABASE_URL": self.database.url,
            "MEDIA_ROOT": str(self.root),
            "ORCHESTRATOR_API_ORGANIZATION": "central",
            "ORCHESTRATOR_API_CHANNEL": "project",
        }
        command = ["executions", "import", url or f"http://{self.portal.host}", *arguments]
        return CliRunner().invoke(main, command, env=environment)

    def run(self, use: Any) -> Any:
        return self.database.run("central", "project", use)

    def execution(self, id_: int) -> dict[str, Any]:
        """Return one as this service's clients are answered."""
        return self.answers.execution(self.run(lambda transaction: executions.get(transaction, id_)))

    def content(self, file: Any) -> bytes:
        with self.files.open(file) as opened:
            return opened.read()


@pytest.fixture
def newcomer(portal, postgres: Postgres, migrated: str, tmp_path) -> Iterator[Newcomer]:
    with copied(postgres, migrated) as database:
        yield Newcomer(portal, database, tmp_path / "media")


def read(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_all_comes_and_keeps_its_names_ids_files_states_and_dates(newcomer, portal):
    plain = portal.schema(name="Größe 1", inputs=ALL_INPUTS, outputs={"ai_model": True, "evaluation_metrics": True})
    federated = portal.schema(inputs=FEDERATED)
    running, succeeded = portal.execution(plain), portal.execution(plain)
    failed, pending = portal.execution(federated), portal.execution(federated)
    portal.report(running, "running")
    made = {"ai_model": {"ai_model": 11}, "evaluation_metrics": [{"evaluation_metric": each} for each in (22, 21, 22)]}
    assert portal.report(succeeded, "succeeded", made).status_code == 200
    portal.report(failed, "failed", {"message": "kein Speicher: größer"})

    first = newcomer.take_over("--json")
    moved = read(first)
    assert f"{portal.get('/api/executions/').json()['count']} executions are there" in first.stderr
    assert (moved["left"], moved["updated"], moved["there"]) == ([], 0, 0)
    for each in (running, succeeded, failed, pending):
        assert newcomer.execution(each["id"]) == portal.get(f"/api/executions/{each['id']}/").json()
    for each in (plain, federated):
        found = newcomer.run(lambda transaction, name=each["name"]: schemas.get(transaction, name))
        assert newcomer.answers.schema(found) == each
        assert newcomer.content(found.auxiliary_file) == b"kind: Workflow\n"

    kept = newcomer.run(lambda transaction: executions.get(transaction, running["id"]))
    path = f"/api/executions/{running['id']}/"
    for file, name in (
        (kept.external_data, "download_external_data/"),
        (kept.report_metadata, "download_report_metadata/"),
        (kept.engines[0].user_vars, "download_user_vars/?descriptor=main-ai-engine"),
    ):
        assert newcomer.content(file) == portal.get(path + name).content
        assert (file.size, Path(file.name).suffix) == (len(newcomer.content(file)), ".bin")
    [partner] = kept.partners
    sent = newcomer.run(lambda transaction: executions.partner(transaction, kept, partner.name))
    shown = portal.get(f"{path}retrieve_data_partner_information/?data_partner={partner.name}").json()
    assert (json.loads(sent), partner.system_path) == (shown, "/srv")
    # Its topics are ours to clean up now.
    with psycopg.connect(newcomer.database.url) as connection:
        owned = dict(connection.execute("SELECT execution, adapter FROM communication_adapters").fetchall())
    federated_one = newcomer.run(lambda transaction: executions.get(transaction, failed["id"]))
    assert owned[failed["id"]] == adapters.name(federated_one)
    assert pending["id"] in owned
    assert running["id"] not in owned


def test_it_can_be_repeated_while_clients_change_over(newcomer, portal):
    schema = portal.schema()
    goes_on, fails, ours, gone = (portal.execution(schema) for _ in "1234")
    before = read(newcomer.take_over("--json"))
    files = {*newcomer.root.iterdir()}
    assert before["executions"] >= 4
    portal.report(goes_on, "running")
    portal.report(fails, "failed", {"message": "first"})
    # Reported to us already, and stale there.
    newcomer.run(lambda transaction: executions.report(transaction, ours["id"], states.SUCCEEDED))
    portal.report(ours, "running")
    portal.send("DELETE", f"/api/executions/{gone['id']}/")
    new = portal.execution(schema)

    again = read(newcomer.take_over("--json"))
    assert (again["schemas"], again["executions"], again["updated"], again["left"]) == (0, 1, 2, [])
    for each in (goes_on, fails, new):
        assert newcomer.execution(each["id"]) == portal.get(f"/api/executions/{each['id']}/").json()
    assert newcomer.execution(ours["id"])["state"] == {"status": "succeeded"}
    assert newcomer.execution(gone["id"])["state"] == {"status": "pending"}
    assert len({*newcomer.root.iterdir()} - files) == 1

    # One that runs meanwhile reports to us; a new one gets an id above all that came.
    reported = newcomer.run(
        lambda transaction: executions.report(transaction, goes_on["id"], states.FAILED, reason="later")
    )
    assert reported.message == "later"
    assert reported.updated_at.ToDatetime(UTC) > datetime.fromisoformat(goes_on["updated_at"])
    made = newcomer.run(lambda transaction: executions.insert(transaction, _of_schema(newcomer, schema), {}))
    assert made.id == new["id"] + 1
    assert read(newcomer.take_over("--json"))["updated"] == 0


def _of_schema(newcomer: Newcomer, schema: dict[str, Any]) -> Any:
    kept = newcomer.run(lambda transaction: executions.get(transaction, _newest(newcomer)))
    kept.ClearField("id")
    for engine in kept.engines:
        engine.ClearField("user_vars")
    kept.schema = schema["name"]
    return kept


def _newest(newcomer: Newcomer) -> int:
    with psycopg.connect(newcomer.database.url) as connection:
        return connection.execute("SELECT max(id) FROM executions").fetchone()[0]


def test_what_is_another_here_stays_and_is_told(newcomer, portal):
    schema = portal.schema()
    started = portal.execution(schema)
    newcomer.take_over()
    with psycopg.connect(newcomer.database.url) as connection:
        connection.execute(
            "UPDATE executions SET created_at = created_at - interval '1 day' WHERE id = %s", (started["id"],)
        )
        connection.execute(
            "UPDATE schemas SET created_at = created_at - interval '1 day' WHERE name = %s", (schema["name"],)
        )
    again = newcomer.take_over()
    assert again.exit_code == 1
    assert f"schema {schema['name']}: another schema has its name here" in again.stderr
    assert f"execution {started['id']}: another execution has its id here" in again.stderr
    assert "2 things could not be imported" in again.stderr


def test_an_execution_of_which_a_file_is_lost_comes_without_it_where_that_is_wanted(newcomer, portal):
    schema = portal.schema(inputs={"external_data": True})
    before = portal.kept()
    started = portal.execution(schema)
    [lost] = [name for name in portal.kept() - before if b"patient" in (portal.root / name).read_bytes()]
    (portal.root / lost).rename(portal.root / f".{lost}")
    left = newcomer.take_over("--json")
    assert left.exit_code == 1
    [line] = json.loads(left.stdout)["left"]
    assert line.startswith(f"execution {started['id']}: its external_data: it answers 500")
    with pytest.raises(NotFoundError):
        newcomer.execution(started["id"])
    files = len([*newcomer.root.iterdir()])
    came = newcomer.take_over("--incomplete")
    assert (came.exit_code, "came without its external_data" in came.stderr) == (1, True)
    assert newcomer.execution(started["id"])["input_elements"] == {}
    assert len([*newcomer.root.iterdir()]) == files + 1
    (portal.root / f".{lost}").rename(portal.root / lost)


def test_who_says_too_little_is_told(newcomer, monkeypatch):
    nobody = newcomer.take_over(url="http://127.0.0.1:9")
    assert nobody.exit_code == 3
    assert newcomer.take_over(url="127.0.0.1").exit_code == 2
    monkeypatch.delenv("MEDIA_ROOT", raising=False)
    missing = CliRunner().invoke(main, ["executions", "import", "http://127.0.0.1:9"], env={})
    assert (missing.exit_code, "ORCHESTRATOR_API_ORGANIZATION" in missing.stderr) == (2, True)
