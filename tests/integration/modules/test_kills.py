"""Whoever is killed in the middle of an iteration: it ends, and each of its stages succeeds once."""

import contextlib

from tests.faults.problems import Harmed
from tests.kit.modules import CLASSES, Modules
from tests.kit.waiting import wait_until


def test_what_was_accepted_ends_whoever_is_killed(modules: Modules) -> None:
    alive = {each.kind: each for each in modules.scripts if each.process.poll() is None}
    scripts = {kind: alive.get(kind) or modules.started(kind) for kind in CLASSES}
    with contextlib.closing(Harmed(modules, scripts)) as harmed:
        for victim in ("ML_MODEL", "serve", "postgres", "valkey"):
            modules.say("ML_MODEL", "sleep:1")
            task = harmed.submit()
            wait_until(lambda task=task: running(harmed, task), 60, f"ML_MODEL of {task} to run")
            harmed.kill_module(victim) if victim in CLASSES else harmed.kill(victim)
        modules.reopen()
        assert harmed.broken() == []
        for task in harmed.accepted:
            shown = harmed.get(task)
            assert [stage["status"] for stage in shown["stages"]] == ["SUCCEEDED"] * len(CLASSES)
            assert (shown["run"], all(stage["output"] for stage in shown["stages"])) == (1, True)


def running(harmed: Harmed, task: dict[str, int]) -> bool:
    return any(stage["kind"] == "ML_MODEL" and stage["status"] == "RUNNING" for stage in harmed.get(task)["stages"])
