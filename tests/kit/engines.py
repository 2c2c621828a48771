"""What the executors `container` and `kubernetes` need in tests: an engine and an image, and a cluster.

With KUBECONFIG the cluster is a real one. It must see the folder of the tests (pytest's --basetemp) by a volume claim,
which ORCHESTRATOR_TEST_VOLUMES names as `claim:/folder`, and ORCHESTRATOR_TEST_BASE names an image with Python that it
can fetch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kit import cluster

IMAGE = os.environ.get("ORCHESTRATOR_TEST_BASE", "")
"""An image with Python that is on this machine."""
ENGINE = os.environ.get("ORCHESTRATOR_TEST_ENGINE", "podman --runtime=runc")
"""The command of the engine; runc is Debian's."""
NEEDED = "`make image-test` names an image for containers, in ORCHESTRATOR_TEST_BASE, and runs this"


@contextmanager
def settings(executor: str, root: Path, environment: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Yield what a worker is to be told besides, by its executor; skip the test where that cannot be had.

    Args:
        executor: its name.
        root: the folder in which all lies that its functions see.
        environment: of this process.
    """
    if executor == "container":
        if not IMAGE:
            pytest.skip(NEEDED)
        yield {"container_engine": ENGINE, "function_image": IMAGE}
    elif executor == "kubernetes" and "KUBECONFIG" in os.environ:
        if not IMAGE or "ORCHESTRATOR_TEST_VOLUMES" not in os.environ:
            pytest.skip("a real cluster needs ORCHESTRATOR_TEST_VOLUMES and ORCHESTRATOR_TEST_BASE")
        yield {"kubernetes_volumes": (os.environ["ORCHESTRATOR_TEST_VOLUMES"],), "function_image": IMAGE}
    elif executor == "kubernetes":
        with small_cluster(root, environment) as (_, more):
            yield more
    else:
        yield {}


@contextmanager
def small_cluster(root: Path, environment: pytest.MonkeyPatch) -> Iterator[tuple[cluster.Cluster, dict[str, Any]]]:
    """Run the tests' own cluster; yield it, and what a worker is to be told of it."""
    with cluster.serving({"all": root}, root / "cluster") as (served, config):
        environment.setenv("KUBECONFIG", str(config))
        yield served, {"kubernetes_volumes": (f"all:{root}",), "function_image": "python:3.11"}
