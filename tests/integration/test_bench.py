"""The bench starts and measures every kind of row; what it measures is asserted nowhere."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import network
from benchmarks.planting import Template
from benchmarks.requests import TASKS, federated
from benchmarks.side import CALLERS, ROOT, Checkout
from benchmarks.sizes import TINY
from benchmarks.sql import UUID_TEXT, Script, Statement, capturing
from benchmarks.stage import Stage
from orchestrator import protos as pb

KINDS = (
    "echo 1 plain",
    "cost claimed",
    "life claimed 2 plain",
    "register by thousands",
    "unblock one child",
    "events re",
    "events live 1",
    "query plans",
    "growth 200 life 1",
)
WITH_WORKERS = ("latency", "end to end", "memory")


def measured(folder: Path, rows: tuple[str, ...], *arguments: str) -> dict[str, dict]:
    """Run the bench as `make bench` does; return its lines by row and number."""
    file = folder / "bench.json"
    chosen = [word for row in rows for word in ("--rows", row)]
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--json", str(file), *chosen, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(file.read_text())
    assert found["failures"] == {}
    return {f"{line['row']}: {line['measured']}": line for line in found["lines"]}


@pytest.mark.timeout(300)
def test_every_kind_of_row_is_measured_beside_another_checkout(tmp_path):
    lines = measured(tmp_path, KINDS, "--against", str(ROOT))
    assert all(any(name.startswith(kind) for name in lines) for kind in KINDS)
    for name, line in lines.items():
        assert all(line["sides"][side]["rounds"] for side in ("ours", "against")), name
    life = lines["life claimed 2 plain: lives"]
    assert life["better"]["against"] > 0
    assert life["sides"]["against"]["yardsticks"][0] > 0


@pytest.mark.timeout(300)
def test_rows_with_workers_are_measured(tmp_path):
    lines = measured(tmp_path, WITH_WORKERS)
    assert all(any(name.startswith(kind) for name in lines) for kind in WITH_WORKERS)
    # All stages of the way are known: whoever changes a name that they are read from must be told.
    stages = {name.removeprefix("latency: of it ") for name in lines if name.startswith("latency: of it ")}
    assert stages >= {f"{stage}, p50" for stage in ("commit", "relay", "broker", "claim", "fetch", "start")}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("bench") / "stage", TINY, [Checkout("ours", ROOT)]) as stage:
        stage.sides[0].ensure(tls=False, workers=False)
        yield stage


def test_planted_tasks_are_tasks_like_any_other(stage):
    (side,) = stage.sides
    plan = network.plan(side, "template")
    tasks = federated(12, network.function(side), plan, CALLERS)
    network.register(side, tasks)
    network.settle(stage, side)
    with stage.connect(side) as connection:
        template = Template(connection, [plan, *(task.key for task in tasks)])
        template.copy(template.copies(1, 2))
        template.copy(template.copies(3, 1))
        places = connection.execute("SELECT count(*), count(DISTINCT position), max(position) FROM events").fetchone()
    assert places[0] == places[1] == places[2], "places of planted events repeat, or leave a gap"
    plans = side.send(f"{network.PLANS}/QueryPlans", pb.QueryPlansParam(page_size=100), pb.QueryPlansResponse).plans
    assert [each.name for each in plans].count("template") == 4
    graphs = set()
    for each in plans:
        if each.name == "template":
            wanted = pb.QueryTasksParam(page_size=100, filter=pb.TaskQueryFilter(compute_plan_key=each.key))
            found = side.send(f"{TASKS}/QueryTasks", wanted, pb.QueryTasksResponse).tasks
            keys = {task.key for task in found}
            parents = [given.parent_task_output.parent_task_key for task in found for given in task.inputs]
            assert len(keys) == len(found) == 12
            assert set(parents) <= keys
            graphs.add((tuple(sorted((task.rank, task.worker, task.status) for task in found)), len(parents)))
    assert len(graphs) == 1
    # Sequences went on: what is registered now meets none of the planted rows.
    network.register(side, federated(12, network.function(side), network.plan(side, "after"), CALLERS))


def test_the_statements_of_a_call_are_captured_without_those_of_the_pumps(stage):
    (side,) = stage.sides
    network.function(side)
    with stage.connect(side) as connection, capturing(connection, stage.postgres_log) as captured:
        plan = network.plan(side, "it's quoted")
        found = captured()
    (transaction,) = found.about(plan)
    assert [transaction[0].text, transaction[-1].text] == ["BEGIN", "COMMIT"]
    assert found.statements >= len(transaction) - 2


def test_a_script_is_lived_by_another_task_with_keys_of_its_own():
    task, model, kept, event = (f"{digit * 8}-0000-7000-8000-{digit * 12}" for digit in "abcd")
    other = "eeeeeeee-0000-4000-8000-eeeeeeeeeeee"
    hexadecimal = f"\\x0a24{task.encode().hex()}"
    statement = Statement("SELECT $1, $2, $3, $4", (task, f"{{{model},{kept},{event}}}", hexadecimal, None))
    (first,) = Script([[statement]], [task, model], frozenset({kept})).of(other)
    assert first.parameters[0] == other
    renewed = UUID_TEXT.findall(first.parameters[1])
    assert renewed[1] == kept
    assert renewed[0] not in (model, task)
    assert renewed[2] != event
    assert renewed[2][:18] == event[:18], "an id that begins with its time keeps it"
    assert first.parameters[2] == f"\\x0a24{other.encode().hex()}"
    assert first.parameters[3] is None
