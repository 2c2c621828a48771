"""How a server process starts: alone, or as one of several that share their addresses."""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.gateway.counts import Counts


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Sibling:
    """What a server process knows that is one of several.

    Args:
        serves: to be called once it serves.
        orphaned: a descriptor that becomes readable when the supervisor is gone.
        counts: of all of them; None where nobody may ask.
    """

    serves: Callable[[], None]
    orphaned: int
    counts: Counts | None
