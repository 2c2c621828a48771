"""Whatever dies in the middle of a start: one workflow, and no execution that is pending for ever."""

import subprocess
from collections.abc import Iterator

import pytest

from orchestrator.embedded.ports import free_port
from tests.kit.argo import Refusal
from tests.kit.health import await_ready
from tests.kit.installation import Installation, await_killed
from tests.kit.waiting import wait_until

HEALTH = f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def survivor(installation: Installation) -> Iterator["subprocess.Popen[bytes]"]:
    """A runtime, from the moment on at which a test asks for it."""
    with installation.runtime("survivor", HEALTH_ADDRESS=HEALTH) as process:
        yield process


def test_runtimes_that_die_in_mid_start(installation: Installation, request: pytest.FixtureRequest):
    first = installation.started()
    with installation.runtime("dies-later", CRASH_POINT="runtime.created") as dying:
        await_killed(dying)
    (placed,) = installation.workflows(first)
    second = installation.started()
    with installation.runtime("dies-sooner", CRASH_POINT="runtime.claimed") as dying:
        await_killed(dying)
    assert not installation.workflows(second)
    request.getfixturevalue("survivor")
    assert installation.await_workflow(first) == placed
    name = installation.await_workflow(second)
    assert installation.workflows(first) + installation.workflows(second) == [placed, name]


@pytest.mark.usefixtures("survivor")
def test_a_server_and_pokes_that_are_lost_in_mid_start(installation: Installation):
    installation.argo.released.clear()
    created = len(installation.argo.created())
    execution = installation.started()
    wait_until(lambda: len(installation.argo.created()) > created, 60, "the workflow to be asked for")
    installation.stop_serving()
    installation.argo.released.set()
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
