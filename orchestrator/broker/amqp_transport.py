"""Celery's transport to RabbitMQ, as all our processes use it: Kombu's, over verified TLS, and with an eye for
properties that are none."""

# mypy: disable-error-code="no-untyped-call"

import ssl
from collections.abc import Callable
from struct import pack, unpack_from
from typing import Any

from amqp import method_framing  # type: ignore[import-untyped]
from amqp.exceptions import AMQPError  # type: ignore[import-untyped]
from kombu.transport import pyamqp

from orchestrator.broker import tls, unreadable

_HEADER = 2


def _frame_handler(connection: Any, callback: Any) -> Callable[[Any], bool]:
    """Return py-amqp's reader of frames, for which a message whose properties cannot be read has none."""
    handle = method_framing.frame_handler(connection, callback)

    def on_frame(frame: Any) -> bool:
        kind, channel, content = frame
        try:
            return bool(handle(frame))
        except AMQPError:
            raise
        except Exception as error:
            if kind != _HEADER:
                raise
            unreadable.note("properties", bytes(content), f"no properties: {type(error).__name__}")
            class_id, body_size = unpack_from(">HxxQ", content, 0)
            return bool(handle((kind, channel, pack(">HxxQH", class_id, body_size, 0))))

    return on_frame


class Message(pyamqp.Message):
    """Kombu's, but that it unpacks nothing: who sends that means no good."""

    def __init__(self, msg: Any, channel: Any = None, **options: Any) -> None:
        headers = msg.properties.get("application_headers")
        if isinstance(headers, dict) and headers.pop("compression", None) is not None:
            msg.properties["content_type"] = "compressed"
        super().__init__(msg, channel=channel, **options)


class Channel(pyamqp.Channel):
    """Kombu's, with such messages."""

    Message = Message

    def basic_consume(self, queue: str = "", *, callback: Any = None, no_ack: bool = False, **options: Any) -> Any:
        """Consume; who listens to events, and acknowledges nothing, lives through what is no event."""
        if not no_ack or callback is None:
            return super().basic_consume(queue, callback=callback, no_ack=no_ack, **options)

        def hear(message: Any) -> None:
            try:
                callback(message)
            except (*self.connection.connection_errors, *self.connection.channel_errors):
                raise
            except Exception as error:
                unreadable.note(queue, message.body, f"its reader failed with {type(error).__name__}")

        return super().basic_consume(queue, callback=hear, no_ack=no_ack, **options)


class Connection(pyamqp.Connection):
    """Kombu's, with such channels."""

    Channel = Channel

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, frame_handler=_frame_handler, **options)


class Transport(pyamqp.Transport):
    """Kombu's, with such connections."""

    Connection = Connection

    def establish_connection(self) -> Any:
        """Connect."""
        client: Any = self.client
        if client.ssl:
            asked = client.ssl if isinstance(client.ssl, dict) else {}
            if "cert_reqs" not in asked:
                client.ssl = tls.amqp_options(asked, client.hostname or "localhost")
        return super().establish_connection()


class SSLTransport(Transport):
    """For amqps, which is TLS even where nobody says how."""

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        client.ssl = client.ssl or {"ssl_cert_reqs": ssl.CERT_REQUIRED}
