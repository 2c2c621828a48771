"""The job of a cluster that runs one attempt: what it is told, as JSON."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from workers.executors.cluster import ClusterError, Object
from workers.executors.executor import Job, Shared
from workers.executors.places import ARGUMENTS, FUNCTION, HOME, INPUTS, OUTPUTS
from workers.settings import WorkerSettings

CONTAINER = "function"
"""The name of the one container."""
RUN = "orchestrator/run"
"""The label by which a job and its pods are found."""
NODE = "orchestrator/node"
"""The label, a digest, of the node that has made a job."""
FOLDER = "orchestrator/folder"
"""The annotation that says where the attempt's folder is, as its worker sees it."""
START = "orchestrator/start"
"""The annotation by which a worker knows a job again that it has made itself."""

# Kept for a while if its worker never comes back.
_KEPT_SECONDS = 3600
_LONGEST_NAME = 63
_SHM = Path("/dev/shm")  # noqa: S108 - of the container


@dataclass(frozen=True)
class Volume:
    """A volume claim, and where the worker has it.

    Args:
        claim: its name.
        folder: of the worker.
    """

    claim: str
    folder: Path

    @classmethod
    def parse(cls, text: str) -> "Volume":
        """Read `claim:/folder`."""
        claim, _, folder = text.partition(":")
        return cls(claim, Path(folder))


def run_name(folder: Path) -> str:
    """Return the name of an attempt's job; its folder's name is like no other's."""
    name = f"run-{re.sub(r'[^a-z0-9-]', '-', folder.name.lower())}".rstrip("-")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"run-{hashlib.sha256(folder.name.encode()).hexdigest()[:32]}"


def node_label(settings: WorkerSettings) -> str:
    """Return what stands for a node where few letters may."""
    return hashlib.sha256(f"{settings.organization}@{settings.node}".encode()).hexdigest()[:16]


def manifest(
    job: Job,
    settings: WorkerSettings,
    words: Sequence[str],
    bound: Sequence[tuple[Path, Path]],
    start: str,
    deadline: int | None,
) -> Object:
    """Return what is told to the cluster.

    Args:
        job: what is to run; it has an image.
        settings: the worker's.
        words: of its command.
        bound: paths of the worker that it reads besides its folder, and where it sees them.
        start: says which start this is.
        deadline: seconds after which the cluster ends it by itself; None for never.

    Raises:
        OSError: it is to see a path that lies in none of the volumes.
    """
    assert job.image is not None  # noqa: S101 - narrows the type
    name = run_name(job.folder)
    labels = {
        "app.kubernetes.io/managed-by": "orchestrator",
        "app.kubernetes.io/component": "function",
        RUN: name,
        NODE: node_label(settings),
        "orchestrator/network": "allowed" if job.network else "none",
        **{f"orchestrator/{key}": value for key, value in job.about.items()},
    }
    volumes = [Volume.parse(text) for text in settings.kubernetes_volumes]
    mounts = list(_mounts(job, settings, bound, volumes))
    own, group = os.getuid(), os.getgid()
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": job.image.name,
        # What it says after the last line counts as its reason.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": [{"name": key, "value": value} for key, value in _environment(job).items()],
        "resources": _resources(job, settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [*mounts, {"name": "shm", "mountPath": str(_SHM)}],
    }
    if words:
        container["args" if job.image.entered else "command"] = [_literal(word) for word in words]
    if not job.image.whole:
        container["workingDir"] = str(FUNCTION)
    used = {mount["name"] for mount in mounts}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.kubernetes_service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": max(1, ceil(job.limits.grace)),
        "securityContext": {
            # What it writes belongs to the worker then.
            "runAsUser": own,
            "runAsGroup": group,
            "fsGroup": group,
            "runAsNonRoot": own != 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            *(
                {"name": _named(number), "persistentVolumeClaim": {"claimName": volume.claim}}
                for number, volume in enumerate(volumes)
                if _named(number) in used
            ),
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": str(settings.sandbox_shared_memory)}},
        ],
    }
    if selector := _selector(settings, job.devices):
        pod["nodeSelector"] = selector
    if settings.kubernetes_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in settings.kubernetes_pull_secrets]
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "suspend": False,
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if deadline is not None:
        spec["activeDeadlineSeconds"] = deadline
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels, "annotations": {FOLDER: str(job.folder), START: start}},
        "spec": spec,
    }


def _mounts(
    job: Job, settings: WorkerSettings, bound: Sequence[tuple[Path, Path]], volumes: Sequence[Volume]
) -> Iterator[Object]:
    yield _mount(job.folder / "home", HOME, volumes, writable=True)
    yield _mount(job.folder / "inputs", INPUTS, volumes)
    yield _mount(job.folder / "outputs", OUTPUTS, volumes, writable=True)
    if job.told:
        yield _mount(job.folder / "arguments", ARGUMENTS, volumes)
    if not job.image or not job.image.whole:
        yield _mount(job.folder / "function", FUNCTION, volumes, writable=True)
    for source, target in bound:
        yield _mount(source, target, volumes)
    for shared in (*map(Shared.parse, settings.sandbox_paths), *job.paths):
        yield _mount(shared.path, shared.path, volumes, writable=shared.writable)


def _mount(source: Path, target: Path, volumes: Sequence[Volume], *, writable: bool = False) -> Object:
    holding = [(len(volume.folder.parts), number) for number, volume in enumerate(volumes) if _holds(volume, source)]
    if not holding:
        raise ClusterError(
            f"a job cannot see {source}: it lies in none of the volumes of ORCHESTRATOR_KUBERNETES_VOLUMES"
        )
    _, number = max(holding)
    inside = source.relative_to(volumes[number].folder)
    return {
        "name": _named(number),
        "mountPath": str(target),
        "readOnly": not writable,
        **({"subPath": str(inside)} if inside.parts else {}),
    }


def _holds(volume: Volume, path: Path) -> bool:
    return path.is_relative_to(volume.folder)


def _named(number: int) -> str:
    return f"volume-{number}"


def _environment(job: Job) -> dict[str, str]:
    own = {"HOME": str(HOME), "TMPDIR": str(HOME), "PYTHONDONTWRITEBYTECODE": "1"}
    given = {**job.environment.variables, **job.variables}
    return {**{key: _literal(value) for key, value in given.items()}, **own}


def _literal(word: str) -> str:
    """Return a word in which the cluster replaces nothing: $(NAME) is a variable to it."""
    return word.replace("$(", "$$(")


def _resources(job: Job, settings: WorkerSettings) -> Object:
    limits: dict[str, str] = {}
    if job.limits.memory is not None:
        limits["memory"] = str(job.limits.memory)
    if job.limits.cpus is not None:
        limits["cpu"] = f"{ceil(job.limits.cpus * 1000)}m"
    if job.devices:
        for device in settings.task_devices:
            name, _, number = device.rpartition("=")
            limits[name] = number
    return {"limits": limits} if limits else {}


def _selector(settings: WorkerSettings, devices: bool) -> dict[str, str]:
    labels = [*settings.kubernetes_node_selector, *(settings.kubernetes_device_node_selector if devices else ())]
    return {name: value for name, _, value in (label.partition("=") for label in labels)}
