"""Whatever dies in the middle of a start: one workflow, and no execution that is pending for ever."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.embedded.ports import free_port
from tests.kit.argo import Refusal
from tests.kit.argo_process import DIES_AFTER, DIES_BEFORE, argo_process, workflows
from tests.kit.health import await_ready
from tests.kit.installation import Installation, await_killed
from tests.kit.waiting import wait_until

FEDERATED = {"platform_data": True, "federated_learning_configuration": True}
HEALTH = f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def survivor(installation: Installation) -> Iterator["subprocess.Popen[bytes]"]:
    """A runtime, from the moment on at which a test asks for it."""
    with installation.runtime("survivor", HEALTH_ADDRESS=HEALTH) as process:
        yield process


def test_argo_that_is_killed_in_mid_start(installation: Installation, tmp_path: Path):
    port = free_port()
    with installation.runtime("waits", ARGO_WORKFLOWS_API_HOST=f"http://127.0.0.1:{port}"):
        with argo_process(tmp_path, port, DIES_BEFORE) as argo:
            execution = installation.started()
            await_killed(argo)
        with argo_process(tmp_path, port, DIES_AFTER) as argo:
            await_killed(argo)
        with argo_process(tmp_path, port):
            assert [*workflows(tmp_path)] == [installation.await_workflow(execution)]
            assert installation.portal.send("DELETE", f"/api/executions/{execution['id']}/").status_code == 204
            wait_until(lambda: not workflows(tmp_path), 30, "its workflow to be ended")


def test_runtimes_that_die_in_mid_start(installation: Installation, request: pytest.FixtureRequest):
    first = installation.started()
    with installation.runtime("dies-later", CRASH_POINT="runtime.created") as dying:
        await_killed(dying)
    (placed,) = installation.workflows(first)
    second = installation.started()
    with installation.runtime("dies-sooner", CRASH_POINT="runtime.claimed") as dying:
        await_killed(dying)
    assert not installation.workflows(second)
    third = installation.started(inputs=FEDERATED)
    with installation.runtime("dies-between", CRASH_POINT="runtime.topics_made") as dying:
        await_killed(dying)
    topics = installation.topics_of(third)
    assert len(topics) == 2
    assert not installation.workflows(third)
    request.getfixturevalue("survivor")
    assert installation.await_workflow(first) == placed
    name = installation.await_workflow(second)
    assert installation.workflows(first) + installation.workflows(second) == [placed, name]
    assert [installation.await_workflow(third)] == installation.workflows(third)
    assert installation.topics_of(third) == topics


@pytest.mark.usefixtures("survivor")
def test_a_server_that_is_killed_and_pokes_that_are_lost_in_mid_start(installation: Installation):
    with installation.asked_for(installation.started) as execution:
        installation.kill_server()
    wait_until(lambda: installation.workflows(execution), 30, "the workflow to be made")
    installation.serve()
    later = installation.started()
    installation.forget_pokes()
    name = installation.await_workflow(execution)
    assert installation.workflows(execution) == [name]
    second = installation.await_workflow(later)
    assert installation.workflows(later) == [second]


def test_argo_that_is_away_is_waited_for_and_drained_from(
    installation: Installation, survivor: "subprocess.Popen[bytes]"
):
    installation.argo.refusal = Refusal(503, "not now")
    execution = installation.started()
    wait_until(lambda: installation.faults(execution), 60, "an attempt to fail")
    assert installation.state(execution) == {"status": "pending"}
    # Its own work it can do.
    await_ready(HEALTH)
    installation.argo.refusal = None
    installation.await_workflow(execution)
    survivor.terminate()
    assert survivor.wait(30) == 0
