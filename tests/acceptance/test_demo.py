"""The demo's compute plan with fewer rounds: its numbers, its trace, and what it must not leave behind."""

import base64
import io
import os
import re
import struct
import subprocess
import sys
from collections import Counter

import pytest
from sqlalchemy import inspect, text

from examples.breast_cancer.data import split
from orchestrator import protos as pb
from orchestrator.audit import history
from orchestrator.cli.experiment import HOSPITALS
from orchestrator.store.connecting import make_engine
from tests.acceptance.demonstrated import TASKS, TASKS_OF_A_ROUND


def test_the_shared_model_is_good_and_every_task_is_done(demo):
    assert demo.faults == []
    assert re.search(rf"{TASKS} Done", demo.printed)
    assert all(name in demo.printed for name in HOSPITALS)


def test_each_task_went_through_its_states_in_order(demo):
    statuses: dict[str, list[int]] = {}
    for event in demo.events:
        if event.asset_kind == pb.ASSET_COMPUTE_TASK:
            statuses.setdefault(event.asset_key, []).append(event.compute_task.status)
    assert len(statuses) == TASKS
    waiting, to_do = pb.STATUS_WAITING_FOR_PARENT_TASKS, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT
    done = [pb.STATUS_EXECUTING, pb.STATUS_DONE]
    ways = Counter(map(tuple, statuses.values()))
    assert ways == {
        (to_do, *done): len(HOSPITALS),
        (waiting, to_do, *done): TASKS - len(HOSPITALS),
    }


def test_no_task_was_to_do_before_its_parents_were_done(demo):
    done: set[str] = set()
    looked_at = 0
    for event in demo.events:
        if event.asset_kind != pb.ASSET_COMPUTE_TASK:
            continue
        task = event.compute_task
        parents = {given.parent_task_output.parent_task_key for given in task.inputs} - {""}
        if task.status in (pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING):
            assert parents <= done
            looked_at += 1
        if task.status == pb.STATUS_DONE:
            done.add(task.key)
    assert looked_at == 2 * TASKS


def test_the_trace_keeps_every_promise(demo):
    violations = list(history.check(demo.events))
    assert not violations


def test_each_task_has_one_attempt_and_one_accepted_completion(demo):
    rows = demo.attempts
    assert len({row.task_key for row in rows}) == len(rows) == TASKS
    assert {(row.number, row.outcome) for row in rows} == {(1, pb.STATUS_DONE)}


def patients() -> list[tuple[float, ...]]:
    hospitals = split(HOSPITALS).values()
    rows = [row for hospital in hospitals for part in (hospital.train, hospital.test) for row in part.features]
    assert len(rows) == 569
    return [tuple(map(float, row)) for row in rows]


def traces_of(row: tuple[float, ...]) -> list[bytes]:
    """Return what two neighbouring measurements of a patient look like, in text and in binary."""
    first, second = row[0], row[1]
    separators = (",", ", ", " ", "\t", ";")
    texts = [f"{first!r}{separator}{second!r}".encode() for separator in separators]
    return texts + [struct.pack(form, first, second) for form in ("<dd", ">dd", "<ff", ">ff")]


def check_no_patient(content: bytes) -> None:
    assert len(content) > 1000
    for row in patients():
        for trace in traces_of(row):
            assert trace not in content


def test_no_patient_is_in_the_database(demo):
    engine = make_engine(demo.federation.places.database_url)
    content = io.BytesIO()
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            for row in connection.execute(text(f'SELECT * FROM "{table}"')):
                for value in row:
                    content.write(value if isinstance(value, bytes) else str(value).encode())
                    content.write(b"\n")
    engine.dispose()
    check_no_patient(content.getvalue())


def test_no_patient_went_through_the_broker(demo):
    commands = "\n".join(demo.heard)
    assert "task.run" in commands
    bodies = [base64.b64decode(body + "==") for body in re.findall(r"[A-Za-z0-9+/]{40,}", commands)]
    assert any(b'"attempt"' in body for body in bodies)
    check_no_patient(commands.encode() + b"\n".join(bodies))


def test_a_patient_in_the_content_is_found():
    row = patients()[0]
    for trace in traces_of(row):
        with pytest.raises(AssertionError):
            check_no_patient(b" " * 1001 + trace)


def test_the_command_exits_with_0_and_leaves_nothing_running(tmp_path):
    command = [sys.executable, "-m", "orchestrator", "demo", "--rounds", "1", "--data", str(tmp_path / "data")]
    # What a company sets for other programs.
    foreign = {
        "PGHOST": "elsewhere.example",
        "PGSSLMODE": "verify-full",
        "PGSERVICE": "warehouse",
        "PGOPTIONS": "-c x=y",
    }
    done = subprocess.run(
        command, env={**os.environ, **foreign}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{TASKS_OF_A_ROUND + len(HOSPITALS)} Done" in done.stdout
    assert "Everything has ended" in done.stdout
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout
    assert left == ""
