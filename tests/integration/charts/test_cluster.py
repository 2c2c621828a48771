"""Both charts on a real cluster, where KUBECONFIG names one: installed, tested, upgraded, rolled back, drained."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest

from tests.integration.charts import cluster
from tests.integration.charts.cluster import MINUTES, RELEASE, SERVER, Cluster
from tests.integration.charts.rendering import KUBERNETES, rendered
from tests.kit.waiting import wait_until

WAIT = ("--wait", f"--timeout={MINUTES}m")


def test_what_is_made_in_a_cluster_is_what_kubernetes_expects(tmp_path: Path):
    for found in [*cluster.surroundings(tmp_path, "trial"), cluster.caller()]:
        kubernetes_validate.validate(found, ".".join(KUBERNETES.split(".")[:2]), strict=True)
    for chart, values in cluster.values("trial").items():
        names = {found["metadata"]["name"] for found in rendered(chart, values)}
        assert names & {SERVER, cluster.STORE}


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Cluster]:
    if not os.environ.get("KUBECONFIG") or not shutil.which("kubectl"):
        pytest.skip("KUBECONFIG names no cluster, or kubectl is not there")
    trial = Cluster(f"orchestrator-{uuid.uuid4().hex[:8]}")
    trial.kubectl("create", "namespace", trial.namespace)
    try:
        trial.kubectl("apply", "--filename=-", objects=cluster.surroundings(tmp_path, trial.namespace))
        yield trial
    finally:
        trial.kubectl("delete", "namespace", trial.namespace, "--wait=false")


@pytest.mark.timeout(60 * 6 * MINUTES)
def test_a_network_is_installed_tested_upgraded_rolled_back_and_drained(trial: Cluster):
    given = cluster.values(trial.namespace)
    names = {"orchestrator": RELEASE, "orchestrator-organization": RELEASE + "-orchestrator-organization"}
    for chart, values in given.items():
        trial.helm("install", names[chart], chart, *WAIT, chart_values=values)
        assert "Succeeded" in trial.helm("test", names[chart], f"--timeout={MINUTES}m")
    trial.kubectl("apply", "--filename=-", objects=[cluster.caller()])
    wait_until(lambda: "answered" in trial.kubectl("logs", "caller"), 120, "calls")
    # Another annotation is another pod.
    changed = {**given["orchestrator"], "server": {**given["orchestrator"]["server"], "podAnnotations": {"round": "2"}}}
    trial.helm("upgrade", RELEASE, "orchestrator", *WAIT, chart_values=changed)
    trial.helm("rollback", RELEASE, *WAIT)
    drain(trial)
    trial.helm("test", names["orchestrator-organization"], f"--timeout={MINUTES}m")
    assert "FAILED" not in trial.kubectl("logs", "caller")


def drain(trial: Cluster) -> None:
    """Have the servers leave a machine, where there is another one for them to go to."""
    nodes = [each["metadata"]["name"] for each in json.loads(trial.kubectl("get", "nodes", "--output=json"))["items"]]
    if len(nodes) < 2:
        return
    try:
        trial.kubectl(
            "drain",
            nodes[0],
            "--ignore-daemonsets",
            "--pod-selector=app.kubernetes.io/component=server",
            "--timeout=5m",
        )
    finally:
        trial.kubectl("uncordon", nodes[0])
    trial.kubectl("rollout", "status", f"deployment/{SERVER}", f"--timeout={MINUTES}m")
