"""The bench starts, and what it plants is like any other; what it measures is asserted nowhere."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import cycle
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks import command, machine, network, portal, report
from benchmarks.measure import Number, Row
from benchmarks.planting import Template
from benchmarks.requests import TASKS, federated
from benchmarks.run import Line, Table, chosen, measure
from benchmarks.side import CALLERS, ROOT, Checkout, Side
from benchmarks.sizes import TINY
from benchmarks.sql import UUID_TEXT, Script, Statement, capturing
from benchmarks.stage import Stage
from orchestrator import protos as pb
from orchestrator.embedded.certificates import lay_out
from orchestrator.embedded.interruption import Interrupted
from tests.kit.interrupts import heed
from tests.kit.waiting import wait_until

ROWS = ("echo 1 plain", "query plans")


def test_rows_are_measured_and_shown_and_what_is_planted_is_like_any_other(tmp_path):
    # One stage for all: its start is most of the time.
    with Stage(tmp_path / "stage", TINY, [Checkout("ours", ROOT)]) as stage:
        show(stage)
        plant(stage)
        capture(stage)
        execute(stage)


def show(stage: Stage) -> None:
    table = Table()
    measure(stage, chosen(TINY, ROWS), lambda _: None, table)
    assert table.failures == {}
    assert {line.row.name for line in table.lines} == set(ROWS)
    assert all(line.value("ours") > 0 for line in table.lines if line.unit in ("calls/s", "ms"))
    written = io.StringIO()
    report.show(Console(file=written, width=180), table, ["ours"], machine.describe(stage, "a test"))
    assert all(name in written.getvalue() for name in (*ROWS, "Postgres settings", "calls/s", "others took"))


def plant(stage: Stage) -> None:
    (side,) = stage.sides
    plan = network.plan(side, "template")
    tasks = federated(12, network.function(side), plan, CALLERS)
    network.register(side, tasks)
    network.settle(stage, side)
    with stage.connect(side) as connection:
        template = Template(connection, [plan, *(task.key for task in tasks)])
        template.copy(template.copies(1, 2))
        template.copy(template.copies(3, 1))
        places = connection.execute(
            "SELECT count(*), count(DISTINCT position), max(position) FROM events JOIN places ON event = id"
        ).fetchone()
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


def capture(stage: Stage) -> None:
    (side,) = stage.sides
    with stage.connect(side) as connection, capturing(connection, stage.postgres_log) as captured:
        plan = network.plan(side, "it's quoted")
        found = captured()
    (transaction,) = found.about(plan)
    assert [transaction[0].text, transaction[-1].text] == ["BEGIN", "COMMIT"]
    assert found.statements >= len(transaction) - 2


def execute(stage: Stage) -> None:
    (side,) = stage.sides
    (execution,) = portal.pending(stage, side, 1)
    for each in portal.reports(execution):
        portal.send(side, each)
    assert portal.state(side, execution) == "succeeded"


def test_executions_are_measured_by_rows_which_pass_over_a_side_that_serves_none(tmp_path):
    rows = chosen(TINY, ["executions"])
    names = ["create 1", "create 2", "report 1", "report 2", "list"]
    assert [row.name for row in rows] == [f"executions {name}" for name in names]
    stage, said = Stage(tmp_path / "stage", TINY, []), list[str]()
    stage.sides.append(Side(Checkout("against", tmp_path / "older"), tmp_path / "side", "", "", lay_out(tmp_path, [])))
    table = Table()
    measure(stage, rows, said.append, table)
    words = {row.name: "against serves no executions" for row in rows}
    assert (table.lines, table.failures, table.passed_over) == ([], {}, words)
    assert said == [f"{name}: passed over, since {why}" for name, why in words.items()]


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


def test_a_script_of_a_number_is_lived_by_another_one_and_leaves_what_only_holds_its_digits():
    statement = Statement("SELECT $1, $2, $3", ("12", "2026-11-12", "\\x3132"))
    (first,) = Script([[statement]], ["12"], frozenset()).of("345")
    assert first.parameters == ("345", "2026-11-12", "\\x3132")


def test_the_command_says_that_no_row_is_called_so():
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--rows", "no such row"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no row begins with no such row" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "life older", "--rows", "zzz"], "no row begins with zzz"),
        (["--steady", "-1"], "-1.0 is not in the range"),
        (["--steady", "0"], "0.0 is not in the range"),
        (["--steady", "1e9"], "1000000000.0 is not in the range"),
        (["--steady", "nan"], "--steady: a number of minutes is expected"),
        (["--against", "/tmp"], "--against: /tmp is no checkout of this repository"),
        (["--json", "/nowhere/x.json"], "--json: /nowhere/x.json cannot be written: No such file or directory"),
        (["--json", "/proc/x.json"], "--json: /proc/x.json cannot be written: No such file or directory"),
        (["--write-docs"], "--write-docs: /nowhere/page.md cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_start(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
):
    monkeypatch.setattr(command, "_PAGE", Path("/nowhere/page.md"))
    done = CliRunner().invoke(command.main, ["--tiny", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_page_without_a_place_for_the_table_is_refused_before_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    page = tmp_path / "page.md"
    page.write_text("Nothing is measured here.")
    monkeypatch.setattr(command, "_PAGE", page)
    done = CliRunner().invoke(command.main, ["--tiny", "--write-docs"])
    assert done.exit_code == 2
    assert "has no place for the table" in done.stderr


def test_an_interrupt_before_anything_was_measured_is_told(monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr(command, "Stage", interrupt)
    done = CliRunner().invoke(command.main, ["--tiny"])
    assert (done.exit_code, done.stderr) == (130, "interrupted before anything was measured\n")


def test_an_interrupted_run_shows_what_it_has_and_leaves_the_page_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    page, file = tmp_path / "page.md", tmp_path / "found.json"
    page.write_text("<!-- begin bench -->\nof a whole run\n<!-- end bench -->\n")
    (row,) = chosen(TINY, ["echo 1 plain"])

    def interrupt(_: Stage, rows: Sequence[Row], __: object, table: Table) -> None:
        table.lines.append(Line(row, "calls", {"ours": [Number(17, "calls/s")]}, [0]))
        raise Interrupted

    monkeypatch.setattr(command, "_PAGE", page)
    monkeypatch.setattr(command, "Stage", lambda *_: nullcontext())
    monkeypatch.setattr(machine, "describe", lambda *_: {})
    monkeypatch.setattr(command, "measure", interrupt)
    done = CliRunner().invoke(command.main, ["--tiny", "--write-docs", "--json", str(file)])
    assert done.exit_code == 130
    assert "17" in done.stdout
    assert json.loads(file.read_text())["lines"][0]["sides"]["ours"]["rounds"] == [17]
    assert page.read_text() == "<!-- begin bench -->\nof a whole run\n<!-- end bench -->\n"


def test_nothing_is_left_of_a_run_that_is_told_to_end_again_and_again(tmp_path: Path):
    said = tmp_path / "said"
    with said.open("w") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", "--tiny", "--rows", "echo 1 plain"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=heed,
        )
    try:
        wait_until(
            lambda: list(tmp_path.glob("bench-*/certificates/**/*.key")) or started.poll() is not None,
            message="private keys",
        )
        numbers = cycle((signal.SIGINT, signal.SIGTERM))

        def ended() -> bool:
            if started.poll() is None:
                os.killpg(started.pid, next(numbers))
            return started.poll() is not None

        wait_until(ended, message="its end")
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    assert (started.returncode, list(tmp_path.glob("bench-*"))) == (130, []), said.read_text()
