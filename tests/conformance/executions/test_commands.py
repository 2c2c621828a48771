"""`orchestrator schema` and `orchestrator execution`, over the same API as everybody."""

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.embedded.running import Running
from tests.kit import commands
from tests.kit.portal import Portal, new_execution, new_schema


@pytest.fixture
def run(portal: Portal, tmp_path: Path) -> Any:
    def run(group: str, *arguments: str) -> tuple[int, str, str]:
        done = commands.run(group, "--url", f"http://{portal.host}", *arguments, folder=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return run


def written(folder: Path, name: str, content: Any) -> str:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return name


def test_a_schema_and_its_executions(run: Any, portal: Portal, tmp_path: Path):
    new = new_schema(inputs={"external_data": True})
    name = new["name"]
    code, output, errors = run("schema", "add", written(tmp_path, "s.json", new), written(tmp_path, "w.yaml", "a: b\n"))
    assert (code, errors) == (0, "")
    assert f"schema {name} is stored" in output
    code, output, _ = run("schema", "list", "--json", "--limit", "1")
    assert [each["name"] for each in json.loads(output)["schemas"]] == [name]
    assert name in run("schema", "list")[1]
    code, output, _ = run("schema", "show", name)
    schema = json.loads(output)
    data, files = new_execution(schema)
    given = [
        word
        for part, content in files.items()
        for word in ("--file", part, written(tmp_path, f"{part}.bin", content.decode()))
    ]
    started = [
        json.loads(run("execution", "start", written(tmp_path, "e.json", data), *given, "--json")[1]) for _ in "12"
    ]
    first, second = started
    code, output, _ = run("execution", "list", "--schema", name, "--json")
    assert [each["id"] for each in json.loads(output)["executions"]] == [first["id"], second["id"]]
    assert portal.report(second, "succeeded", {}).status_code == 200
    code, output, _ = run("execution", "watch", str(second["id"]))
    assert (code, output) == (0, f"execution {second['id']} is succeeded\n")
    code, output, _ = run("execution", "cancel", str(first["id"]))
    assert (code, output) == (0, f"execution {first['id']} is cancelled\n")
    code, _, errors = run("execution", "watch", str(first["id"]))
    assert (code, "cancelled by " in errors) == (1, True)
    assert run("execution", "cancel", str(first["id"]))[0] == 2
    assert "cancelled by" in run("execution", "list", "--schema", name)[1]
    code, _, errors = run("execution", "watch", str(portal.execution(schema)["id"]), "--timeout", "0")
    assert (code, "is still pending" in errors) == (1, True)
    assert run("execution", "delete", str(first["id"]))[0] == 0
    assert run("execution", "show", str(first["id"]))[0] == 1
    assert run("schema", "delete", name)[0] == 0


def test_a_refusal_is_told_in_a_line(run: Any, tmp_path: Path):
    wrong = {**new_schema(), "type": "odd", "ai_elements": {"ai_engines": [{}]}}
    code, _, errors = run("schema", "add", written(tmp_path, "s.json", wrong), written(tmp_path, "w.yaml", "a"))
    assert (code, errors.count("\n")) == (1, 1)
    assert 'type: "odd" is not a valid choice.' in errors
    assert "ai_elements.ai_engines.0.descriptor: This field is required." in errors
    for words in (("execution", "show", "999999999"), ("schema", "show", "..")):
        code, _, errors = run(*words)
        assert (code, "Not found." in errors) == (1, True)
    (tmp_path / "latin").write_bytes(b'{"name": "\xe9"}')
    for words in (("execution", "start", "latin"), ("schema", "add", "latin", "w.yaml")):
        code, _, errors = run(*words)
        assert (code, errors.count("\n"), "utf-8" in errors) == (1, 1, True)


def test_logs_of_an_execution_without_containers_are_refused_in_a_line(portal: Portal, tmp_path: Path):
    shown = portal.execution(portal.schema())
    member = ("--address", portal.address, "--org", "central", "--channel", "project")
    done = commands.run("execution", "logs", str(shown["id"]), *member, folder=tmp_path)
    words = f"Error: execution {shown['id']} has no containers that central may know of\n"
    assert (done.returncode, done.stderr) == (1, words)


def test_a_service_that_is_not_there(run: Any):
    code, _, errors = run("schema", "--url", "http://127.0.0.1:1", "list")
    assert (code, "cannot be reached" in errors, "ORCHESTRATOR_EXECUTIONS_URL" in errors) == (3, True, True)
    code, _, errors = run("schema", "--url", "127.0.0.1:8080", "list")
    assert (code, "is no URL" in errors) == (2, True)


def test_the_service_of_the_federation_that_runs_here(run: Any, portal: Portal, tmp_path: Path):
    me = psutil.Process()
    here = Running(
        pid=me.pid,
        started=me.create_time(),
        address=portal.address,
        http_address=portal.host,
        channel="project",
        organizations=("central",),
        stores={},
        certificate_folder=tmp_path,
        consent_folder=tmp_path,
        flower="",
        logs=tmp_path,
    )
    (tmp_path / ".orchestrator").mkdir()
    here.write(tmp_path / ".orchestrator")
    name = portal.schema()["name"]
    done = commands.run("schema", "show", name, folder=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, name)
