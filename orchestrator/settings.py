"""What the server, the sweeps and the migrations must be told, from variables named `ORCHESTRATOR_…`."""

import ipaddress
import re
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, FilePath, PositiveInt, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from orchestrator.core import broker_urls, documents
from orchestrator.core.broker_urls import BrokerUrl
from orchestrator.core.listed import split
from orchestrator.core.rules import Rules
from orchestrator.engine.retries import FaultKind, RetryPolicies, RetryPolicy

_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|µs|ms|s|m|h|d)")


def _duration(value: object) -> object:
    """Read `500ms`, `1m30s`, `90d` or a plain number of seconds."""
    text = str(value).strip()
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("not host:port")
    return value


def is_loopback(address: str) -> bool:
    """Say whether an address, host:port, can be reached from this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _postgres(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("not a postgresql:// URL")
    return value


def _upper(value: object) -> object:
    return {"WARN": "WARNING"}.get(str(value).upper(), str(value).upper())


def _readable(read: Callable[[Path], object]) -> AfterValidator:
    """Check that a file says what it should."""

    def check(file: Path) -> Path:
        try:
            read(file)
        except OSError as error:
            raise documents.DocumentError(f"{file}: {error.strerror}") from error
        return file

    return AfterValidator(check)


def read_channels(file: Path) -> Mapping[str, frozenset[str]]:
    """Return the organizations of each channel.

    Args:
        file: YAML, `channels: {name: [organization, …]}`.

    Raises:
        OSError: it cannot be read.
        DocumentError: it is something else.
    """
    document = documents.read(file.read_bytes(), str(file), aliases=True)
    listed = document.mapping().get("channels")
    if listed is None:
        raise document.error("channels is missing")
    channels = {name: frozenset(each.text() for each in entry.entries()) for name, entry in listed.mapping().items()}
    if not channels:
        raise listed.error("there is no channel")
    return channels


def read_broker_urls(file: Path) -> Mapping[str, str]:
    """Return the broker URL of each organization, or queue of another kind, that has one of its own.

    Args:
        file: YAML, `organizations: {id: URL, …}` and perhaps `queues: {name: URL, …}`, as `orchestrator broker
            provision` writes it; where a `relay` beside them has another URL, that one is the server's.

    Raises:
        OSError: it cannot be read.
        DocumentError: it is something else.
    """
    document = documents.read(file.read_bytes(), str(file))
    parts = document.mapping()
    if "organizations" not in parts:
        raise document.error("organizations is missing")
    urls = {}
    for name in ("organizations", "queues", "relay"):
        for organization, entry in parts[name].mapping().items() if name in parts else ():
            urls[organization] = entry.text()
            try:
                broker_urls.check(urls[organization])
            except ValueError as error:
                raise entry.error(str(error)) from None
    if not urls:
        raise parts["organizations"].error("there is no organization")
    return urls


Way = Literal["certificate", "token", "open"]
Duration = Annotated[float, BeforeValidator(_duration), Field(ge=0)]
Address = Annotated[str, AfterValidator(_address)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres)]


class DatabaseSettings(BaseSettings):
    """What every process needs that touches the database."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_", hide_input_in_errors=True)

    database_url: PostgresUrl = Field(description="the URL of the database, postgresql://user:password@host:5432/name")
    database_pooling: Literal["session", "transaction"] = Field(
        "session",
        description="`transaction` where a pooler, as PgBouncer, hands out a session of the database for each "
        "transaction; `session` where there is none, or it does so for each connection",
    )
    database_direct_url: PostgresUrl | None = Field(
        None,
        description="a URL of the same database past such a pooler, for what needs a session: one connection of each "
        "server process that listens, and migrations",
    )
    database_pool_size: PositiveInt = Field(16, description="most database connections of one process (1 or more)")
    tx_retry_budget: Duration = Field(
        0.5, description="how long a transaction that met another is tried again, as in 500ms or 2s"
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR"
    )

    @model_validator(mode="after")
    def _has_sessions(self) -> Self:
        if self.database_pooling == "transaction" and self.database_direct_url is None:
            expected = type(self).model_fields["database_direct_url"].description
            raise ValueError(
                f"ORCHESTRATOR_DATABASE_DIRECT_URL is missing: expected {expected}, since "
                "ORCHESTRATOR_DATABASE_POOLING is transaction"
            )
        return self

    @property
    def url(self) -> str:
        """The URL of the database."""
        return self.database_url.get_secret_value()

    @property
    def direct_url(self) -> str:
        """The URL for what needs a session of its own."""
        return (self.database_direct_url or self.database_url).get_secret_value()


class RuleSettings(DatabaseSettings):
    """What the server and the sweeps must agree on: leases and retries."""

    lease: Duration = Field(60.0, gt=0, description="how long an attempt is believed to live without a heartbeat")
    retry_build_attempts: PositiveInt = Field(1, description="attempts that may end in a BUILD error (1 or more)")
    retry_execution_attempts: PositiveInt = Field(
        1, description="attempts that may end in an EXECUTION error (1 or more)"
    )
    retry_internal_attempts: PositiveInt = Field(
        3, description="attempts that may end in an INTERNAL error (1 or more)"
    )
    retry_lost_attempts: PositiveInt = Field(3, description="attempts that may lose their worker (1 or more)")
    retry_timeout_attempts: PositiveInt = Field(1, description="attempts that may reach their time limit (1 or more)")
    retry_backoff: Duration = Field(5.0, description="the pause after the first such attempt; it doubles with each")
    retry_cap: Duration = Field(300.0, description="the longest pause")

    @property
    def rules(self) -> Rules:
        """The rules of leases."""
        return Rules(timedelta(seconds=self.lease))

    @property
    def retry_policies(self) -> RetryPolicies:
        """When a task is tried again."""
        counts = {
            FaultKind.BUILD: self.retry_build_attempts,
            FaultKind.EXECUTION: self.retry_execution_attempts,
            FaultKind.INTERNAL: self.retry_internal_attempts,
            FaultKind.LOST: self.retry_lost_attempts,
            FaultKind.TIMEOUT: self.retry_timeout_attempts,
        }
        return RetryPolicies(
            {kind: RetryPolicy(count, self.retry_backoff, self.retry_cap) for kind, count in counts.items()}
        )


class ServerSettings(RuleSettings):
    """What the gRPC server needs."""

    channel_config: Annotated[FilePath, _readable(read_channels)] = Field(
        description="a YAML file, channels: {name: [organization, …]}; read again when it changes"
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="server processes that share the addresses, each with all limits and all memory of the settings "
        "for itself (1 to 64; more than 1 on Linux only)",
    )
    grpc_address: Address = Field("0.0.0.0:9000", description="host:port that the gRPC server listens on")
    http_address: Address = Field("0.0.0.0:8484", description="host:port that the HTTP server listens on")
    broker_url: BrokerUrl | None = Field(
        None, description="the URL of the broker, as in redis://host:6379/0; nothing is dispatched without a broker"
    )
    broker_urls: Annotated[FilePath, _readable(read_broker_urls)] | None = Field(
        None,
        description="a YAML file, organizations: {id: URL, …}, of those that have a broker URL of their own, as "
        "`orchestrator broker provision` writes it; all others have ORCHESTRATOR_BROKER_URL; read again when it "
        "changes",
    )
    tls_enabled: bool = Field(False, description="true or false")
    tls_cert_path: FilePath | None = Field(None, description="a file with the server's certificate")
    tls_key_path: FilePath | None = Field(None, description="a file with the key of the server's certificate")
    mtls_enabled: bool = Field(False, description="true or false")
    tls_server_ca_cert: FilePath | None = Field(
        None,
        description="a file with the CA certificates of the server's own certificate; nothing here needs it",
    )
    tls_client_ca_cert_dir: Path | None = Field(
        None,
        description="a folder with a folder per organization that holds its CA certificates, and, if there are any, "
        "their revocation lists (CRLs); read again when a file changes",
    )
    tls_deny_list: FilePath | None = Field(
        None,
        description="a YAML file of what is not accepted any more, serials: {organization: [serial number, …]} and "
        "authorities: [SHA-256, …]; read again when it changes",
    )
    verify_client_msp_id: bool = Field(False, description="true or false")
    metrics_enabled: bool = Field(False, description="true or false")
    metrics_exemplars: bool = Field(
        False,
        description="whether `/metrics` names traces beside durations, to who asks in OpenMetrics; true or false",
    )
    replay_events_batch_size: PositiveInt = Field(
        1000, description="how many events a subscriber that catches up is sent at once (1 or more)"
    )
    grpc_keepalive_policy_min_time: Duration = Field(
        30.0, description="the least time between two keep-alive pings of a client, as in 30s"
    )
    grpc_keepalive_policy_permit_without_stream: bool = Field(False, description="true or false")
    calls_per_organization: PositiveInt = Field(
        256, description="most calls of one organization that run or wait at once; more are refused (1 or more)"
    )
    calls_in_all: PositiveInt = Field(
        2048,
        description="most calls that run or wait at once; then only organizations below their equal share are let in "
        "(1 or more)",
    )
    subscriptions_per_organization: PositiveInt = Field(
        2000, description="most subscriptions to events of one organization; more are refused (1 or more)"
    )
    subscriptions_in_all: PositiveInt = Field(
        10_000,
        description="most subscriptions to events; then only organizations below their equal share are let in "
        "(1 or more)",
    )
    message_bytes: PositiveInt = Field(
        512 * 1024 * 1024,
        description="the bytes that requests may take while they arrive: as many arrive at once as 128 MiB go into it "
        "(1 or more)",
    )
    parsed_bytes: PositiveInt = Field(
        1536 * 1024 * 1024,
        description="the bytes that one request may take once it is parsed, told beforehand and with much to spare; "
        "more is refused, and those of more than 4 MiB are worked on one after another. 100,000 tasks in one call may "
        "come to 1 GiB, so less than the default means smaller calls (1 or more)",
    )
    grpc_connections: PositiveInt = Field(
        1000, description="most connections to the gRPC server; more are closed at once (1 or more)"
    )
    grpc_handshake_time: Duration = Field(
        10.0, gt=0, description="how long a client may take to begin TLS and HTTP/2, as in 10s"
    )
    http_connections: PositiveInt = Field(
        256, description="most connections to the HTTP server; more are closed at once (1 or more)"
    )
    http_connections_per_address: PositiveInt = Field(
        128, description="most connections to the HTTP server from one address; more are closed at once (1 or more)"
    )
    http_request_time: Duration = Field(
        10.0, gt=0, description="how long the headers of a request to the HTTP server may take, as in 10s"
    )
    submission_bytes: PositiveInt = Field(
        256 * 1024 * 1024,
        description="most bytes of a compute plan that is submitted whole; while they arrive they lie in a temporary "
        "file (1 or more)",
    )
    message_time: Duration = Field(30.0, gt=0, description="how long a request may take to arrive, as in 30s")
    api_identity: Annotated[tuple[Way, ...], NoDecode, BeforeValidator(split)] = Field(
        (),
        description="how callers of the HTTP API may say who they are, separated by commas: `certificate`, `token`, "
        "`open` (whoever shows nothing is ORCHESTRATOR_API_ORGANIZATION); there is no HTTP API without it",
    )
    api_address: Address | None = Field(
        None,
        description="host:port that the HTTP API listens on, over TLS where ORCHESTRATOR_TLS_ENABLED is true; left "
        "out, it is served on ORCHESTRATOR_HTTP_ADDRESS, without TLS, which must then be a loopback address",
    )
    api_organization: str | None = Field(
        None, min_length=1, description="the organization for which callers of the HTTP API act that show nothing"
    )
    api_channel: str | None = Field(None, min_length=1, description="the channel in which they do")
    problems_address: Address | None = Field(
        None,
        description="host:port that the HTTP of problems listens on, 127.0.0.1:5001 for front ends that exist: without "
        "TLS on a loopback address, elsewhere over TLS where ORCHESTRATOR_TLS_ENABLED is true; left out, there is none",
    )
    problems_identity: Annotated[tuple[Way, ...], NoDecode, BeforeValidator(split)] = Field(
        (),
        description="how callers of it may say who they are, as in ORCHESTRATOR_API_IDENTITY; `open` is for a loopback "
        "address alone, and what counts there where this is left out",
    )
    problems_organization: str | None = Field(
        None,
        min_length=1,
        description="the organization of the deployment that is served; ORCHESTRATOR_API_ORGANIZATION when not set",
    )
    problems_channel: str | None = Field(
        None, min_length=1, description="the channel in which it lies; ORCHESTRATOR_API_CHANNEL when not set"
    )
    problems_deployment: str = Field("domain-0", description="the name of the deployment")
    problems_connections: PositiveInt = Field(
        2048, description="most connections to the HTTP of problems; more are closed at once (1 or more)"
    )

    @model_validator(mode="after")
    def _complete_tls(self) -> Self:
        if self.tls_enabled:
            self._need("tls_cert_path", "ORCHESTRATOR_TLS_ENABLED is true")
            self._need("tls_key_path", "ORCHESTRATOR_TLS_ENABLED is true")
        if self.mtls_enabled:
            if not self.tls_enabled:
                raise ValueError("ORCHESTRATOR_TLS_ENABLED is wrong: expected true, since ORCHESTRATOR_MTLS_ENABLED is")
            self._need("tls_client_ca_cert_dir", "ORCHESTRATOR_MTLS_ENABLED is true")
            if self.tls_client_ca_cert_dir is None or not any(self.tls_client_ca_cert_dir.glob("*/*")):
                raise ValueError(
                    "ORCHESTRATOR_TLS_CLIENT_CA_CERT_DIR is wrong: expected "
                    "a folder with a folder per organization that holds its CA certificates"
                )
        if self.tls_deny_list and not self.verify_client_msp_id:
            raise ValueError(
                "ORCHESTRATOR_VERIFY_CLIENT_MSP_ID is wrong: expected true, since ORCHESTRATOR_TLS_DENY_LIST is set"
            )
        if self.verify_client_msp_id and not self.mtls_enabled:
            raise ValueError(
                "ORCHESTRATOR_MTLS_ENABLED is wrong: expected true, since ORCHESTRATOR_VERIFY_CLIENT_MSP_ID is"
            )
        return self

    @model_validator(mode="after")
    def _can_share(self) -> Self:
        if self.processes > 1:
            if sys.platform != "linux":
                raise ValueError(
                    "ORCHESTRATOR_PROCESSES is wrong: expected 1, since only Linux shares addresses fairly"
                )
            for variable, address in self.addresses.items():
                if address.endswith(":0"):
                    raise ValueError(
                        f"{variable} is wrong: expected a port that is not 0, since ORCHESTRATOR_PROCESSES is more "
                        "than 1"
                    )
        return self

    @model_validator(mode="after")
    def _complete_api(self) -> Self:
        if not self.api_identity:
            return self
        if "open" in self.api_identity:
            self._need("api_organization", "ORCHESTRATOR_API_IDENTITY has open")
            self._need("api_channel", "ORCHESTRATOR_API_IDENTITY has open")
        if "certificate" in self.api_identity:
            self._need("api_address", "ORCHESTRATOR_API_IDENTITY has certificate")
            if not self.verify_client_msp_id:
                raise ValueError(
                    "ORCHESTRATOR_VERIFY_CLIENT_MSP_ID is wrong: expected true, since ORCHESTRATOR_API_IDENTITY has "
                    "certificate"
                )
        if not is_loopback(self.http_address):
            self._need("api_address", "ORCHESTRATOR_HTTP_ADDRESS is not a loopback address")
        return self

    @model_validator(mode="after")
    def _complete_problems(self) -> Self:
        if self.problems_address is None:
            return self
        loopback = is_loopback(self.problems_address)
        if not self.problems_identity and loopback:
            self.problems_identity = ("open",)
        for name, value in (("organization", self.problems_owner), ("channel", self.problems_place)):
            if value is None:
                self._need(f"problems_{name}", "ORCHESTRATOR_PROBLEMS_ADDRESS is set")
        if not self.problems_identity or ("open" in self.problems_identity and not loopback):
            raise ValueError(
                "ORCHESTRATOR_PROBLEMS_IDENTITY is wrong: expected `token` or `certificate`, since "
                "ORCHESTRATOR_PROBLEMS_ADDRESS is not a loopback address"
            )
        if "certificate" in self.problems_identity and (loopback or not self.verify_client_msp_id):
            raise ValueError(
                "ORCHESTRATOR_PROBLEMS_IDENTITY is wrong: `certificate` needs ORCHESTRATOR_VERIFY_CLIENT_MSP_ID and an "
                "address that is not a loopback address"
            )
        return self

    @property
    def addresses(self) -> Mapping[str, str]:
        """What is listened on, by variable."""
        named = {
            "GRPC": self.grpc_address,
            "HTTP": self.http_address,
            "API": self.api_address,
            "PROBLEMS": self.problems_address,
        }
        return {f"ORCHESTRATOR_{name}_ADDRESS": address for name, address in named.items() if address}

    @property
    def problems_owner(self) -> str | None:
        """The organization of the deployment whose problems are served."""
        return self.problems_organization or self.api_organization

    @property
    def problems_place(self) -> str | None:
        """The channel in which it lies."""
        return self.problems_channel or self.api_channel

    @property
    def api_warnings(self) -> list[str]:
        """What an operator should know of the HTTP API at each start."""
        if self.api_address is None or is_loopback(self.api_address):
            return []
        warnings = []
        if "open" in self.api_identity:
            warnings.append(f"whoever reaches it acts for {self.api_organization} in {self.api_channel}")
        if not self.tls_enabled:
            warnings.append("tokens and answers travel without TLS, unless a proxy in front of it has it")
        return warnings

    def _need(self, name: str, because: str) -> None:
        if getattr(self, name) is None:
            expected = type(self).model_fields[name].description
            raise ValueError(f"ORCHESTRATOR_{name.upper()} is missing: expected {expected}, since {because}")

    @property
    def dispatches(self) -> bool:
        """Whether there is any broker."""
        return self.broker_url is not None or self.broker_urls is not None
