"""The container engine of tests, where there is one and an image is named: `make image-test` does so."""

import os
from typing import Any

import pytest

IMAGE = os.environ.get("ORCHESTRATOR_TEST_BASE", "")
"""An image with Python that is on this machine."""
ENGINE = os.environ.get("ORCHESTRATOR_TEST_ENGINE", "podman --runtime=runc")
"""The command of the engine; runc is Debian's."""
NEEDED = "`make image-test` names an image for containers, in ORCHESTRATOR_TEST_BASE, and runs this"


def settings(executor: str) -> dict[str, Any]:
    """Return what a worker is to be told besides, by its executor; skip the test where that cannot be had."""
    if executor == "container":
        if not IMAGE:
            pytest.skip(NEEDED)
        return {"container_engine": ENGINE, "function_image": IMAGE}
    return {}
