"""The client part of the package, as scripts for front ends use it."""

import json
import queue
from pathlib import Path

import pytest
import sustainml_swig as swig
from sustainml_py.nodes.OrchestratorNode import OrchestratorNode

from orchestrator import protos as pb
from tests.kit.pages import run
from tests.kit.waiting import wait_until

PAGE = Path(__file__).parents[3] / "docs" / "modules.md"


@pytest.fixture
def address(modules, monkeypatch):
    found = modules.federation.running.problems["address"]
    monkeypatch.setenv("ORCHESTRATOR_PROBLEMS_URL", found)
    return found


@pytest.fixture
def front(address):
    heard = queue.SimpleQueue()
    node = OrchestratorNode(
        new_node_output=lambda id, data: heard.put(("output", id, data)),
        node_status_change=lambda id, status: heard.put(("status", id, status.node_status())),
    )
    yield node.node_, heard
    node.node_.destroy()


def test_a_script_prepares_and_starts_a_problem_and_reads_what_became_of_it(modules, front):
    node, heard = front
    first = set()
    while len(first) < 6:
        first.add(heard.get(timeout=60)[:2])
    assert first == {("status", kind) for kind in range(6)}
    task, user_input = node.prepare_new_task()
    assert task.problem_id() > 0
    assert node.get_model_provider_task_data(node, task) is None
    user_input.problem_short_description("digits")
    user_input.inputs(["an image"])
    user_input.extra_data(json.dumps({"goal": "classification"}).encode())
    assert node.start_task(task, user_input) is True
    outputs = {}
    while len(outputs) < 6:
        what, id, data = heard.get(timeout=60)
        if what == "output":
            assert id not in outputs
            outputs[id] = data
    assert node.get_task_id(swig.NodeID.ID_ML_MODEL, outputs[5]) == task
    assert isinstance(outputs[1], swig.CO2Footprint)
    kept = node.get_user_input_data(node, task)
    assert kept.problem_short_description() == "digits"
    assert list(kept.inputs()) == ["an image"]
    assert json.loads(bytes(kept.extra_data()))["goal"] == "classification"
    assert modules.ended(pb.TaskId(problem_id=task.problem_id(), iteration_id=1)).state == pb.STAGE_SUCCEEDED
    following, inherited = node.prepare_new_iteration(task, task)
    assert (following.problem_id(), following.iteration_id()) == (task.problem_id(), 2)
    assert inherited.problem_short_description() == "digits"
    assert node.start_iteration(following, inherited)
    assert modules.ended(pb.TaskId(problem_id=task.problem_id(), iteration_id=2)).state == pb.STAGE_SUCCEEDED


def test_the_blocks_of_the_page_run_and_their_front_end_hears_all_outputs(modules, address, capsys):
    names = {}
    said = []

    def outputs():
        said.extend(capsys.readouterr().out.splitlines())
        return {line.partition("(")[0] for line in said if "NodeStatus" not in line}

    try:
        run(PAGE, names)
        task = names["task_id"]
        assert modules.ended(pb.TaskId(problem_id=task.problem_id(), iteration_id=1)).state == pb.STAGE_SUCCEEDED
        wait_until(lambda: len(outputs()) == 6, 30, "all outputs to be told")
    finally:
        if "node" in names:
            names["node"].node_.destroy()


def test_a_script_asks_a_module_and_commands_it(modules, front):
    node, _ = front
    request = swig.RequestType()
    request.node_id(swig.NodeID.ID_HW_RESOURCES)
    request.configuration("hardwares")
    response = node.configuration_request(request)
    assert (response.success(), response.err_code(), response.node_id()) == (True, 0, 3)
    assert json.loads(response.configuration())["asked"] == "hardwares"
    request.node_id(99)
    assert node.configuration_request(request).err_code() == swig.ErrorCode.INTERNAL_ERROR
    control = swig.NodeControl()
    control.target_node("HW_RESOURCES")
    control.cmd_node(swig.CmdNode.STOP_NODE)
    node.send_control_command(control)
    wait_until(lambda: modules.state("HW_RESOURCES") == "INACTIVE", 30)
    control.cmd_node(swig.CmdNode.START_NODE)
    node.send_control_command(control)
    modules.await_state("HW_RESOURCES", "first", "IDLE")
    control.target_node("NOBODY")
    with pytest.raises(RuntimeError):
        node.send_control_command(control)
    assert node.print_db() is None
