"""An organization whose workers were away for long finds all its tasks, though its queue was emptied."""

import redis

from orchestrator.client import PUBLIC
from orchestrator.core import pokes
from tests.kit.followed import Followed
from tests.kit.waiting import wait_until

AWAY = "org-b"
TASKS = 8


def emptied(stage) -> int:
    """Return how many pokes were taken out of the queue, and never read."""
    lines = stage.service("serve").log_lines()
    found = [line for line in lines if "queue.emptied" in line and AWAY in line]
    return sum(int(line.partition('"pokes": ')[2].partition(",")[0].rstrip("}")) for line in found)


def waiting(stage) -> int:
    with redis.Redis.from_url(stage.federation.places.broker_url) as client:
        return int(client.llen(pokes.key_prefix(pokes.account(AWAY)) + pokes.queue(AWAY)))


def test_all_tasks_are_done_when_it_is_back(stage):
    before = emptied(stage)
    stage.kill(f"worker-{AWAY}")
    built = stage.client().plan("away")
    for _ in range(TASKS):
        built.task(function=stage.brief, worker=AWAY, outputs={"model": PUBLIC})
    stage.submit(built)
    plan = Followed(stage, built)
    wait_until(lambda: emptied(stage) - before >= TASKS, 60, f"the queue to be emptied of {TASKS} pokes or more")
    wait_until(lambda: waiting(stage) == 0, 30, "the queue to be empty: what is poked anew meanwhile goes, too")
    assert plan.states() == {"WAITING_FOR_EXECUTOR_SLOT": TASKS}
    stage.start(f"worker-{AWAY}")
    plan.wait()
    assert plan.attempts() == TASKS
    assert plan.faults() == []
    assert stage.violations() == []
