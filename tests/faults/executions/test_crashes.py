"""Whatever dies in the middle of a start: one workflow, and no execution that is pending for ever."""

import pytest

from tests.kit.installation import Installation, await_killed
from tests.kit.waiting import wait_until


@pytest.mark.parametrize("point", ["runtime.claimed", "runtime.created"])
def test_a_runtime_that_dies_in_mid_start(installation: Installation, point: str):
    execution = installation.started()
    with installation.runtime(f"dies-{point}", CRASH_POINT=point) as dying:
        await_killed(dying)
    before = installation.workflows(execution)
    assert len(before) == (1 if point == "runtime.created" else 0)
    with installation.runtime(f"after-{point}"):
        name = installation.await_workflow(execution)
    assert installation.workflows(execution) == [name]
    assert not before or before == [name]


def test_a_server_and_pokes_that_are_lost_in_mid_start(installation: Installation):
    installation.argo.released.clear()
    created = len(installation.argo.created())
    execution = installation.started()
    with installation.runtime("waits"):
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


def test_argo_that_is_away_is_waited_for_and_drained_from(installation: Installation):
    installation.argo.stop()
    execution = installation.started()
    with installation.runtime("patient") as runtime:
        wait_until(lambda: installation.faults(execution), 60, "an attempt to fail")
        assert installation.state(execution) == {"status": "pending"}
        installation.argo.start()
        installation.await_workflow(execution)
        runtime.terminate()
        assert runtime.wait(30) == 0
