"""What a worker must be told whose functions run in images: in containers of its machine, or as jobs of a cluster."""

import shlex
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic_settings import BaseSettings

from orchestrator.core.listed import Texts

_GIB = 1024**3


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"no command line: {error}") from error
    if not words:
        raise ValueError("no command line: it is empty")
    return text


def _pairs(separator: str, what: str) -> AfterValidator:
    def check(entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            name, found, value = entry.partition(separator)
            if not (name and found and value):
                raise ValueError(f"{entry!r} is no {what}")
        return entries

    return AfterValidator(check)


_Names = Texts
_Volumes = Annotated[_Names, _pairs(":/", "claim:/folder")]
_Labels = Annotated[_Names, _pairs("=", "label=value")]


class ImageSettings(BaseSettings):
    """What the executors `container` and `kubernetes` need besides."""

    function_image: str | None = Field(
        None,
        description="the image in which functions run whose owner names none, with their archive in it at `/function`: "
        "of a Dockerfile counts the ENTRYPOINT alone then. When not set, `container` builds the image of each "
        "function, and `kubernetes` runs only functions that name one",
    )
    task_cpu_limit: PositiveFloat | None = Field(
        None,
        description="the processors that a task in a container may use at once, as 2 or 0.5 (more than 0); unlimited "
        "when not set",
    )
    task_devices: _Names = Field(
        (),
        description="the devices of a function whose owner the consent policy names under `devices`: for `container` "
        "as the engine's --device takes them, `/dev/nvidia0` or `nvidia.com/gpu=all`; for `kubernetes` resources with "
        "their number, `nvidia.com/gpu=1`",
    )
    image_time_limit: PositiveFloat = Field(
        1800.0, description="the seconds that an image may take to be fetched or built (more than 0)"
    )
    image_cache_size: PositiveInt = Field(
        20 * _GIB,
        description="the bytes that the images of functions may take, without those that they are built on (1 or "
        "more); the longest unused are removed first",
    )
    image_cache_age: NonNegativeFloat = Field(
        30 * 24 * 3600.0,
        description="the seconds after which the image of a function that nobody used is removed (0 or more; 0 keeps "
        "it)",
    )
    container_engine: Annotated[str, AfterValidator(_command)] = Field(
        "podman",
        description="the command of the container engine, podman or docker, with its own options, as "
        "`podman --runtime=runc`",
    )
    container_network: str | None = Field(
        None,
        description="the network of the engine for functions that may use the network, as `host`; the engine's own "
        "default when not set",
    )
    kubernetes_namespace: str | None = Field(
        None, description="where jobs run; the worker's own namespace, or that of KUBECONFIG, when not set"
    )
    kubernetes_volumes: _Volumes = Field(
        (),
        description="the volume claims that the worker shares with its jobs, each with the folder at which the worker "
        "has it, as `working:/var/lib/orchestrator/working,store:/var/lib/orchestrator/store`",
    )
    kubernetes_service_account: str = Field(
        "default", description="the service account of jobs; no token of it is mounted in them"
    )
    kubernetes_node_selector: _Labels = Field(
        (), description="labels that the nodes of jobs must have, as `pool=training`"
    )
    kubernetes_device_node_selector: _Labels = Field(
        (), description="labels that those nodes must have besides whose jobs get devices, as `accelerator=nvidia`"
    )
    kubernetes_pull_secrets: _Names = Field(
        (), description="names of the secrets by which the images of jobs are pulled"
    )
    kubernetes_start_limit: PositiveFloat = Field(
        600.0,
        description="the seconds in which a job's container must have started: its node found, its image pulled (more "
        "than 0); after that the attempt is given up as the worker's fault",
    )

    @model_validator(mode="after")
    def _counts_devices(self) -> Self:
        if getattr(self, "executor", "") == "kubernetes":
            if not self.kubernetes_volumes:
                raise ValueError(
                    "ORCHESTRATOR_EXECUTOR=kubernetes needs ORCHESTRATOR_KUBERNETES_VOLUMES: the claims by which jobs "
                    "see the worker's folders"
                )
            for device in self.task_devices:
                if not device.rpartition("=")[2].isdecimal():
                    raise ValueError(f"ORCHESTRATOR_TASK_DEVICES: {device!r} is no resource with its number, name=1")
        return self
