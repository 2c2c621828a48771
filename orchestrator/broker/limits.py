"""How much of a broker one account may have: RabbitMQ keeps to it; Redis and Valkey limit the whole server alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What an account on RabbitMQ, and its vhost, may have at once.

    Args:
        connections: of its vhost, and of its user; a worker's node has three.
        channels: of its user.
        queues: in its vhost; a node has one beside the organization's.
        messages: in a queue; what is published beyond is refused, and the relay tries again.
        size: bytes of the messages in a queue.
    """

    connections: int = 500
    channels: int = 2000
    queues: int = 500
    messages: int = 100_000
    size: int = 64 << 20
