"""Functions that outlive their workers, as jobs of the small cluster: each task is completed once, by one run of it."""

import os
from collections.abc import Iterator

import pytest

from tests.kit import engines, runs
from tests.kit.cluster import Cluster
from tests.kit.followed import Followed
from tests.kit.stage import ORGANIZATIONS, Stage
from tests.kit.waiting import wait_until

pytestmark = pytest.mark.timeout(400)
LEASE_SECONDS = 30.0
WORKERS = [f"worker-{name}" for name in ORGANIZATIONS]


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Cluster]]:
    if "KUBECONFIG" in os.environ:
        pytest.skip("tests/integration/workers/test_succession.py uses a real cluster")
    root = tmp_path_factory.mktemp("clustered")
    (root / "stage").mkdir()
    with pytest.MonkeyPatch.context() as environment, engines.small_cluster(root, environment) as (cluster, more):
        given = {name: value if isinstance(value, str) else ",".join(value) for name, value in more.items()}
        with Stage(root / "stage", {"LEASE": f"{LEASE_SECONDS}s"}) as stage:
            for worker in map(stage.service, WORKERS):
                worker.stop()
                assert worker.environment is not None
                worker.environment |= {"KUBECONFIG": os.environ["KUBECONFIG"], "ORCHESTRATOR_EXECUTOR": "kubernetes"}
                worker.environment |= {f"ORCHESTRATOR_{name.upper()}": value for name, value in given.items()}
                worker.environment["ORCHESTRATOR_TASK_TIME_LIMIT"] = "300"
                worker.start()
            yield stage, cluster


def begun(stage: Stage) -> Followed:
    """Have a task run at each organization, until `go` does."""
    word = stage.said / "go"
    word.unlink(missing_ok=True)
    waits = f"while not os.path.exists({str(word)!r}): time.sleep(0.02)"
    followed = stage.plan(1, function=stage.function(0.05, code=waits))
    wait_until(lambda: len(followed.running()) == len(ORGANIZATIONS), 90, "all to run")
    return followed


def go(stage: Stage) -> None:
    (stage.said / "go").touch()


def starts(stage: Stage, followed: Followed) -> int:
    """Return how often a function of a plan has begun."""
    keys = {task.key for task in followed.plan.tasks}
    return sum(word.word == "start" and word.task in keys for word in runs.read(stage.said))


def test_workers_that_are_killed_and_started_again_complete_each_task_once(
    clustered: tuple[Stage, Cluster],
) -> None:
    stage, _ = clustered
    followed = begun(stage)
    for worker in WORKERS:
        stage.kill(worker)
    assert len(followed.running()) == len(ORGANIZATIONS)
    for worker in WORKERS:
        stage.start(worker)
    go(stage)
    followed.wait(120)
    assert not followed.faults()
    assert followed.attempts() == starts(stage, followed) == len(followed.plan.tasks)


def test_a_worker_that_is_away_for_longer_than_its_lease_has_lost_the_attempt(
    clustered: tuple[Stage, Cluster],
) -> None:
    stage, cluster = clustered
    followed = begun(stage)
    stage.kill(WORKERS[0])
    wait_until(lambda: len(followed.running()) == len(ORGANIZATIONS) - 1, 120, "the cluster to end its job")
    wait_until(lambda: followed.states()["WAITING_FOR_EXECUTOR_SLOT"] == 1, 120, "the task to be To do again")
    stage.start(WORKERS[0])
    go(stage)
    followed.wait(120)
    assert not followed.faults()
    assert followed.attempts() == starts(stage, followed) == len(followed.plan.tasks) + 1
    wait_until(lambda: not cluster.objects["jobs"], 60, "all jobs to be removed")
