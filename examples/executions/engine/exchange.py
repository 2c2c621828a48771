"""How a federated run talks over Kafka: models go to the manager, merged ones come back, and metrics at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

STATUS = "status"
_SEPARATOR = "///MESSAGE_SEP///"
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.5


class ExchangeError(Exception):
    """The other side has failed, or was not heard in time."""


class Exchange:
    """The topics of one run, as one side of it reads and writes them.

    Args:
        bootstrap: host:port of a Kafka broker.
        adapter: K, by which the run's topics and messages are named.
        partner: whose side this is; empty for the manager's.
    """

    def __init__(self, bootstrap: str, adapter: str, partner: str = "") -> None:
        self._adapter = adapter
        self._partner = partner
        self._key = f"{adapter}{_SEPARATOR}{partner}" if partner else adapter
        self._producer = Producer({"bootstrap.servers": bootstrap, "client.id": self._key})
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"{adapter}_{partner}_client" if partner else f"{adapter}_manager",
                "enable.auto.commit": False,
            }
        )
        self._heard: list[Message] = []
        read = f"{adapter}_models_to_clients" if partner else f"{adapter}_models_to_manager"
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in (STATUS, read)])
        self._writes = f"{adapter}_models_to_manager" if partner else f"{adapter}_models_to_clients"

    def tell_ready(self) -> None:
        """Say that this side is there."""
        self._send(STATUS, b"true", message_name=f"{'client' if self._partner else 'manager'}_initialization")

    def tell_failure(self, iteration: int) -> None:
        """Say that this side gives up."""
        self.send(None, iteration)

    def send(self, content: bytes | None, iteration: int) -> None:
        """Hand over a model, or metrics; None says that there will be none."""
        name = "ended_iteration" if self._partner else "start_iteration"
        self._send(self._writes, content, message_name=name, iteration_index=str(iteration))

    def await_manager(self) -> None:
        """Wait until the manager is there.

        Raises:
            ExchangeError: it has failed, or was not heard.
        """
        self._await("manager_initialization", [self._adapter], None)

    def await_clients(self, partners: Sequence[str]) -> None:
        """Wait until all clients are there.

        Raises:
            ExchangeError: one has failed, or was not heard.
        """
        self._await("client_initialization", [self._named(partner) for partner in partners], None)

    def merged(self, iteration: int) -> bytes:
        """Wait for the merged model of an iteration.

        Raises:
            ExchangeError: the manager has failed, or was not heard.
        """
        return self._await("start_iteration", [self._adapter], iteration)[self._adapter]

    def gathered(self, partners: Sequence[str], iteration: int) -> dict[str, bytes]:
        """Wait for what each client hands over in an iteration.

        Raises:
            ExchangeError: one has failed, or was not heard.
        """
        found = self._await("ended_iteration", [self._named(partner) for partner in partners], iteration)
        return {partner: found[self._named(partner)] for partner in partners}

    def _named(self, partner: str) -> str:
        return f"{self._adapter}{_SEPARATOR}{partner}"

    def _send(self, topic: str, value: bytes | None, **headers: str) -> None:
        self._producer.produce(topic, value, self._key, headers=list(headers.items()))
        if self._producer.flush(_PATIENCE_SECONDS):
            raise ExchangeError(f"the broker has not taken {headers['message_name']}")

    def _await(self, name: str, keys: Sequence[str], iteration: int | None) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for message in self._messages(", ".join(sorted(keys))):
            headers = {header: (value or b"").decode() for header, value in message.headers() or []}
            key, value = (message.key() or b"").decode(), message.value()
            if key not in keys or headers.get("message_name") != name:
                continue
            if iteration is not None and headers.get("iteration_index") != str(iteration):
                continue
            if value in (None, b"false"):
                raise ExchangeError(f"{key.rpartition(_SEPARATOR)[2] if _SEPARATOR in key else 'the manager'} gave up")
            found[key] = value
            if len(found) == len(keys):
                return found
        raise ExchangeError(f"{len(keys) - len(found)} of {len(keys)} messages {name} did not come in time")

    def _messages(self, awaited: str) -> Iterator[Message]:
        """Yield all messages from the earliest on, those that were heard before first, until patience is over."""
        yield from list(self._heard)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            message = self._consumer.poll(_POLL_SECONDS)
            if message is None:
                continue
            if message.error():
                print(f"Kafka, waiting for {awaited}: {message.error()}", flush=True)
                continue
            self._heard.append(message)
            yield message
