"""What is said of a message that nobody here can read: that it came, its length and its digest; never its content."""

from collections import Counter
from hashlib import sha256

import structlog

log = structlog.get_logger()

_count: Counter[str] = Counter()


class UnreadableError(Exception):
    """A message is not what its reader expects; the text says why, and repeats nothing of it."""


def note(source: str, content: object, reason: str) -> None:
    """Count a message and log it; whoever calls this removes it from where it came from.

    Args:
        source: the queue or channel that it came from.
        content: the message, or its body: bytes, or what stands for them.
        reason: why it cannot be read.
    """
    _count[source] += 1
    raw = bytes(content) if isinstance(content, bytes | memoryview) else str(content).encode("utf-8", "surrogatepass")
    log.error(
        "message.unreadable",
        source=source,
        reason=reason,
        sha256=sha256(raw).hexdigest(),
        bytes=len(raw),
        count=_count[source],
    )
