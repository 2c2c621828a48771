"""What `submit` shows while a plan is sent, and in a notebook until it has ended."""

import os
import pty
import re
import sys
import threading
import uuid
from pathlib import Path

import nbformat
import pytest

from orchestrator import protos as pb
from orchestrator.client import CallError
from orchestrator.embedded.certificates import Layout
from tests.kit.notebooks import kernel_of
from tests.kit.partners import Partners

CELLS = """
import threading
from orchestrator.client import Certificates, Client

client = Client({address!r}, "org-1", {channel!r}, Certificates({authority!r}, {certificate!r}, {key!r}))
plan = client.plan("a <live> plan", key={plan!r})
given = {{"data_manager": {manager!r}, "data_samples": [{sample!r}]}}
plan.test(function={test!r}, **given, model=plan.train(function={train!r}, **given))
# ---
plan.submit()
# ---
for thread in threading.enumerate():
    if thread.name == "live":
        thread.join(30)
# ---
plan.wait()
# ---
second = client.plan("second")
second.train(function={train!r}, **given)
second.submit()
client.cancel(second)
try:
    second.wait()
except Exception as error:
    print(type(error).__name__)
"""


def shown(cell: nbformat.NotebookNode) -> list[str]:
    return [output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]


def test_a_notebook_sees_a_bar_that_goes_on_when_the_cell_is_over(
    network: Partners, certificates: Layout, tmp_path: Path
) -> None:
    key, files = str(uuid.uuid4()), certificates.client("org-1")
    code = CELLS.format(
        address=network.address,
        channel=network.channel,
        authority=str(files.authority),
        certificate=str(files.certificate),
        key=str(files.key),
        plan=key,
        manager=network.manager,
        sample=network.sample,
        train=network.train.key,
        test=network.test.key,
    )
    cells = [nbformat.v4.new_code_cell(part.strip()) for part in code.split("# ---\n")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with kernel_of(notebook, tmp_path, {}) as kernel:
        for number in (0, 1):
            kernel.execute_cell(cells[number], number)
        (sent,) = shown(cells[1])
        assert sent.startswith("<div><b>a &lt;live&gt; plan</b> <progress"), sent
        wanted = pb.QueryTasksParam(filter=pb.TaskQueryFilter(compute_plan_key=key))
        tasks = sorted(network.data.tasks.QueryTasks(wanted).tasks, key=lambda task: task.rank)
        doing = threading.Thread(target=lambda: [network.do(task.key) for task in tasks])
        doing.start()
        kernel.execute_cell(cells[2], 2)
        doing.join(30)
        # Of the cell that was over long before.
        (ended,) = shown(cells[1])
        assert ended.endswith("> Done: 2 of 2 tasks Done</div>"), ended
        kernel.execute_cell(cells[3], 3)
        assert shown(cells[3]) == [ended]
        # Where the same cell waits, one bar is enough; it says how the plan ended.
        kernel.execute_cell(cells[4], 4)
        (both,) = shown(cells[4])
        assert both.endswith("> Cancelled: 0 of 1 tasks Done, 1 Cancelled</div>"), both
        assert "PlanEndedError" in cells[4].outputs[-1].text


def test_a_terminal_sees_how_much_is_sent(network: Partners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        plan = network.plan(rounds=2)
        plan.submit()
        plan.submit()
        network.plan().submit(bar=False)
        broken = network.plan(name="broken")
        broken.tasks[0].message.inputs[0].asset_key = plan.key
        with pytest.raises(CallError, match="does not exist"):
            broken.submit()
        terminal.flush()
        written = os.read(ours, 65536).decode()
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    assert len(re.findall(r"plan ━+ 5 tasks registered", text)) == 1, text
    assert "3 tasks registered" not in text
    assert re.search(r"broken ━* *\S* *\d of 3 tasks sent", text), text
