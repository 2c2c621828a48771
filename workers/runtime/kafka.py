"""Kafka, by which the parts of a federated run talk: its topics are made before the run and removed after it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AliasChoices, AliasGenerator, Field, FilePath, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from workers.runtime.errors import RefusedError, UnreachableError

if TYPE_CHECKING:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

STATUS = "status"
"""The topic that all runs share; it is never removed."""

_CLIENT = "orchestrator"
_BOTH = "compact,delete"
# Kafka's numbers, see https://kafka.apache.org/protocol: what another try would be told as well.
_FINAL = {
    10: "message too large",
    17: "invalid name",
    29: "not authorized for the topic",
    31: "not authorized for the cluster",
    35: "unsupported version",
    37: "invalid partitions",
    40: "invalid config",
    42: "invalid request",
    44: "against a policy",
    73: "deletion is disabled",
}
_EXISTS, _ABSENT = 36, 3


def _names(name: str) -> AliasChoices:
    return AliasChoices(f"ORCHESTRATOR_{name.upper()}", name.upper())


class KafkaSettings(BaseSettings):
    """Where Kafka is, how it is spoken to, and what topics are like."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        alias_generator=AliasGenerator(validation_alias=_names),
    )

    communication_adapter: Literal["kafka"] = Field(
        "kafka", description="by what the parts of federated runs talk: kafka"
    )
    kafka_bootstrap_servers: str = Field(
        "localhost:9092", min_length=1, description="host:port of Kafka's brokers, separated by commas"
    )
    kafka_client_config: FilePath | None = Field(
        None,
        description="a file with more of librdkafka's properties, `name=value` a line, as for TLS and SASL; it is read "
        "again at each use",
    )
    kafka_partitions: PositiveInt = Field(1, description="partitions of each topic; clients read from one (1 or more)")
    kafka_replication_factor: PositiveInt = Field(1, description="copies of each topic (1 or more)")
    kafka_max_message_bytes: PositiveInt | None = Field(
        None,
        description="largest message of a run's own topics in bytes: a model must fit; without it the broker's own",
    )
    kafka_timeout: PositiveFloat = Field(10.0, description="seconds that Kafka may take to answer")


def pair(adapter: str) -> tuple[str, str]:
    """Return the names of a run's own topics.

    Args:
        adapter: K of the execution.
    """
    return f"{adapter}_models_to_manager", f"{adapter}_models_to_clients"


class Kafka:
    """Makes and removes topics; each call has a connection of its own, since there are few.

    Args:
        settings: where, and how.

    Raises:
        ImportError: there is no client of Kafka here.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        try:
            import confluent_kafka.admin
        except ImportError as error:
            raise ImportError(
                "topics for federated executions need the package confluent-kafka: pip install 'orchestrator[kafka]'"
            ) from error
        self._admin: Any = confluent_kafka.admin
        self._error = confluent_kafka.KafkaException
        self._settings = settings

    def make(self, adapter: str) -> None:
        """Make the shared topic and the pair of an execution; those that are there are left as they are.

        Args:
            adapter: K of the execution.

        Raises:
            RefusedError: Kafka does not make them.
            UnreachableError: nobody knows whether they were made.
        """
        of_runs = {"cleanup.policy": _BOTH, "compression.type": "gzip"}
        if self._settings.kafka_max_message_bytes is not None:
            of_runs["max.message.bytes"] = str(self._settings.kafka_max_message_bytes)
        wanted = {STATUS: {"cleanup.policy": _BOTH, "compression.type": "uncompressed"}}
        wanted |= dict.fromkeys(pair(adapter), of_runs)
        topics = [
            self._admin.NewTopic(
                name,
                num_partitions=self._settings.kafka_partitions,
                replication_factor=self._settings.kafka_replication_factor,
                config=config,
            )
            for name, config in wanted.items()
        ]
        timeout = self._settings.kafka_timeout
        # It must live until it has its answers.
        client = self._client()
        made = client.create_topics(topics, operation_timeout=timeout, request_timeout=timeout)
        self._await(made, "make", _EXISTS)

    def remove(self, adapter: str) -> Sequence[str]:
        """Remove the pair of an execution; return the names of those that were there.

        Raises:
            RefusedError: Kafka does not remove them.
            UnreachableError: nobody knows whether it was done.
        """
        # Some brokers remove what is not there without a word; and what was made just now may not be listed yet.
        listed = {*self.names()}
        timeout = self._settings.kafka_timeout
        client = self._client()
        removed = client.delete_topics(list(pair(adapter)), operation_timeout=timeout, request_timeout=timeout)
        return [name for name in self._await(removed, "remove", _ABSENT) if name in listed]

    def names(self) -> Sequence[str]:
        """Return the names of all topics.

        Raises:
            UnreachableError: there was no answer.
        """
        try:
            return sorted(self._client().list_topics(timeout=self._settings.kafka_timeout).topics)
        except self._error as error:
            raise UnreachableError(f"{self._who} does not list its topics: {_words(error)}") from error

    @property
    def _who(self) -> str:
        return f"Kafka at {self._settings.kafka_bootstrap_servers}"

    def _await(self, futures: "Mapping[str, Future[None]]", verb: str, fine: int) -> list[str]:
        """Wait for what was asked of each topic; return those of which it was done now."""
        done: list[str] = []
        refused: dict[str, list[str]] = {}
        unknown: dict[str, list[str]] = {}
        for name, future in futures.items():
            try:
                future.result(2 * self._settings.kafka_timeout)
                done.append(name)
            except self._error as error:
                code = error.args[0].code()
                if code != fine:
                    (refused if code in _FINAL else unknown).setdefault(_words(error), []).append(name)
            except TimeoutError:
                unknown.setdefault("no answer", []).append(name)
        if refused:
            raise RefusedError(f"{self._who} does not {verb} {_told(refused)}")
        if unknown:
            raise UnreachableError(f"{self._who} did not {verb} {_told(unknown)}")
        return done

    def _client(self) -> "AdminClient":
        settings = self._settings
        more = {} if settings.kafka_client_config is None else _properties(settings.kafka_client_config)
        config: dict[str, Any] = {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "client.id": _CLIENT,
            "socket.timeout.ms": int(settings.kafka_timeout * 1000),
            # What it says of each try to connect is in the errors.
            "log_level": 0,
            **more,
        }
        try:
            client: AdminClient = self._admin.AdminClient(config)
            return client
        except self._error as error:
            raise RefusedError(f"the properties for {self._who} are wrong: {_words(error)}") from error


def _told(reasons: Mapping[str, list[str]]) -> str:
    """Say of which topics what was said."""
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def _properties(file: Path) -> dict[str, str]:
    """Read `name=value` lines.

    Raises:
        UnreachableError: it cannot be read now.
        RefusedError: a line is none of these.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UnreachableError(f"{file} cannot be read: {error}") from error
    found = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, separator, value = line.partition("=")
            if not separator:
                # The line itself may be a secret.
                raise RefusedError(f"{file}, line {number}: not name=value")
            found[name.strip()] = value.strip()
    return found


def _words(error: "KafkaException") -> str:
    return str(error.args[0].str())
