"""What functions say is in the organization's store while they say it, and after, however they end."""

import os
import time
from collections.abc import Callable

import pytest

from orchestrator import protos as pb
from tests.kit.waiting import wait_until
from tests.kit.world import World
from workers.settings import WorkerSettings

DONE = """
outputs["model"].write_text("a model")
outputs["score"].write_text('{"all": 1}')
"""
SAYS = "print('epoch 1', flush=True)\n"


def log(world: World, name: str) -> Callable[[], str]:
    file = world.store / name
    return lambda: file.read_text() if file.exists() else ""


@pytest.mark.parametrize("executor", ["sandbox", "subprocess"])
def test_what_a_task_that_is_done_has_said_is_kept(world: World, executor: str) -> None:
    world.settings = WorkerSettings.model_validate(world.settings.model_dump() | {"executor": executor})
    world.claim(world.function(SAYS + DONE + "print('the end')"))
    world.run()
    assert world.recorded.completed
    assert log(world, f"task_logs/{world.task}/2")() == "epoch 1\nthe end\n"
    assert not (world.store / "logs").exists()


def test_it_is_there_while_the_task_runs(world: World) -> None:
    said = log(world, f"task_logs/{world.task}/2")
    world.claim(world.function(SAYS + "time.sleep(600)"))
    # The agent renews its lease: without one it would wait.
    with world.agent(), world.process():
        wait_until(lambda: said() == "epoch 1\n", timeout=30, message="what the function says")
        assert not world.recorded.completed


def test_that_of_an_attempt_that_failed_is_where_its_report_says(world: World) -> None:
    world.claim(world.function(SAYS + "sys.exit('no')"))
    world.run()
    failed, text = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_EXECUTION
    assert text.startswith("epoch 1\nno\n")
    assert not list((world.store / "task_logs").glob("*"))


def test_a_node_removes_logs_that_are_older_than_its_setting_says(world: World) -> None:
    world.settings = world.settings.model_copy(update={"task_log_age": 3600.0})
    files = [
        world.store / name for name in (f"task_logs/{world.task}/1", f"logs/{world.task}-1", f"logs/{world.task}-2")
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for file in files[:2]:
        os.utime(file, (time.time() - 7200, time.time() - 7200))
    with world.agent():
        wait_until(lambda: not any(file.exists() for file in files[:2]), timeout=30, message="old logs to go")
    assert files[2].exists()


def test_the_log_of_a_build_says_what_was_passed_over(world: World) -> None:
    function = world.function(DONE, 'FROM python:3-slim\nUSER nobody\nENTRYPOINT ["python3", "function.py"]\n')
    world.build(function.key)
    assert function.status == pb.FUNCTION_STATUS_READY
    said = log(world, f"logs/{function.key}-1")()
    assert "line 2: 'USER nobody' is passed over" in said
    assert said.endswith("Built.\n")
