"""What a cluster is told of a job: a valid object, as locked up as the strictest pod security asks."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from workers.executors.executor import Environment, Job, Limits
from workers.executors.image import Image
from workers.executors.manifest import manifest, run_name
from workers.settings import WorkerSettings

FOLDER = Path("/srv/org-1@node-1/7d9b-2-0123456789ab")
JOB = Job(
    FOLDER,
    ["python3", "function.py"],
    Limits(time=60.0, grace=0.5, memory=10**9, file_size=10**6, cpus=1.5),
    image=Image("python:3.11"),
    environment=Environment(variables={"A": "$(B)"}),
    about={"task": "7d9b", "attempt": "2", "token": "ab"},
)


def settings(**more: Any) -> WorkerSettings:
    return WorkerSettings(
        organization="org-1",
        channels=("known",),
        address="127.0.0.1:9",
        broker_url="redis://127.0.0.1:9",
        store_root="/store",
        store_url="https://store.example.org",
        work_dir=Path("/srv"),
        node="node-1",
        executor="kubernetes",
        kubernetes_volumes=("working:/srv", "store:/store", "inner:/store/samples"),
        **more,
    )


def told(job: Job = JOB, **more: Any) -> dict[str, Any]:
    bound = [(Path("/store/samples/x"), Path("/samples/0"))]
    return manifest(job, settings(**more), ["python3", "$(x)", "@/arguments"], bound, "start", 30)


def test_it_is_a_job_that_the_api_takes() -> None:
    made = told(
        kubernetes_node_selector=("pool=training",), kubernetes_pull_secrets=("registry",), task_devices=("gpu/x=2",)
    )
    kubernetes_validate.validate(made, "1.31", strict=True)
    assert made["spec"]["backoffLimit"] == 0
    assert made["spec"]["activeDeadlineSeconds"] == 30
    assert made["metadata"]["labels"]["orchestrator/network"] == "none"


def test_it_is_locked_up() -> None:
    pod = told()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["runAsUser"] == os.getuid()
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"] == {"limits": {"memory": "1000000000", "cpu": "1500m"}}


def test_it_sees_its_own_part_of_each_volume_alone() -> None:
    pod = told()["spec"]["template"]["spec"]
    claims = {each["name"]: each.get("persistentVolumeClaim", {}).get("claimName") for each in pod["volumes"]}
    seen = {
        mount["mountPath"]: (claims[mount["name"]], mount.get("subPath"), mount.get("readOnly"))
        for mount in pod["containers"][0]["volumeMounts"]
    }
    inside = str(FOLDER.relative_to("/srv"))
    assert seen == {
        "/tmp": ("working", f"{inside}/home", False),
        "/inputs": ("working", f"{inside}/inputs", True),
        "/outputs": ("working", f"{inside}/outputs", False),
        "/arguments": ("working", f"{inside}/arguments", True),
        "/function": ("working", f"{inside}/function", False),
        "/samples/0": ("inner", "x", True),
        "/dev/shm": (None, None, None),
    }


def test_the_cluster_replaces_nothing_in_its_words() -> None:
    (container,) = told()["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python3", "$$(x)", "@/arguments"]
    assert {"name": "A", "value": "$$(B)"} in container["env"]


def test_an_image_of_its_own_begins_where_it_says() -> None:
    (container,) = told(replace(JOB, image=Image("x:1", whole=True, entered=True)))["spec"]["template"]["spec"][
        "containers"
    ]
    assert "workingDir" not in container
    assert "command" not in container
    assert container["args"] == ["python3", "$$(x)", "@/arguments"]


@pytest.mark.parametrize("devices", [True, False])
def test_devices_are_for_those_whom_the_policy_names(devices: bool) -> None:
    more = {
        "task_devices": ("nvidia.com/gpu=1",),
        "kubernetes_node_selector": ("pool=training",),
        "kubernetes_device_node_selector": ("accelerator=nvidia",),
    }
    pod = told(replace(JOB, devices=devices), **more)["spec"]["template"]["spec"]
    assert ("nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]) is devices
    assert pod["nodeSelector"] == {"pool": "training", **({"accelerator": "nvidia"} if devices else {})}


def test_names_are_as_a_cluster_takes_them() -> None:
    assert run_name(FOLDER) == "run-7d9b-2-0123456789ab"
    assert len(run_name(Path("/srv") / ("x" * 200))) <= 63
    assert run_name(Path("/srv/A_b")) == "run-a-b"


def test_settings_say_what_is_missing() -> None:
    with pytest.raises(ValueError, match="needs ORCHESTRATOR_KUBERNETES_VOLUMES"):
        WorkerSettings.model_validate({**settings().model_dump(), "kubernetes_volumes": ()})
    with pytest.raises(ValueError, match="is no resource with its number"):
        WorkerSettings.model_validate({**settings().model_dump(), "task_devices": ("/dev/nvidia0",)})
    with pytest.raises(ValueError, match="is no claim:/folder"):
        WorkerSettings.model_validate({**settings().model_dump(), "kubernetes_volumes": ("working",)})
