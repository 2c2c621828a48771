"""What the agent tells an attempt that runs in another process: how long it is believed to live, and when to end."""

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum

import structlog

from workers import processes
from workers.errors import Released, Stopped
from workers.executors.lease import clock
from workers.folder import Place, write

log = structlog.get_logger()

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 300.0


class Kind(StrEnum):
    """Why an attempt is to end."""

    STOP = "stop"
    """The orchestrator wants it: nothing of it is accepted any more."""
    RELEASE = "release"
    """This worker ends: the task is to be given back."""


@dataclass(frozen=True)
class Order:
    """An order to end.

    Args:
        kind: of order.
        reason: for people.
        given: when, by the monotonic clock, which all processes of a machine share.
    """

    kind: Kind
    reason: str
    given: float


def give(place: Place, kind: Kind, reason: str) -> None:
    """Order an attempt to end; the first order stands, and one that comes too late does no harm."""
    if not place.owner.exists() or place.order.exists():
        return
    try:
        write(place.order, json.dumps(asdict(Order(kind, reason, time.monotonic()))))
    except OSError as error:
        # As on a full disk. Who cannot be told is killed, and cleaned up after.
        record = place.record()
        killed = record is not None and processes.end(record.pid, record.born)
        log.error("order.not_given", folder=place.folder.name, error=str(error), killed=killed)


def given(place: Place) -> Order | None:
    """Return the order that an attempt was given."""
    try:
        content = json.loads(place.order.read_text())
    except FileNotFoundError:
        return None
    return Order(Kind(content["kind"]), content["reason"], content["given"])


def renew(place: Place, until: float) -> None:
    """Tell an attempt until when it is believed to live.

    Args:
        place: its working folder.
        until: by `lease.clock`.
    """
    # See `lease.left`.
    with suppress(FileNotFoundError):
        os.utime(place.owner, (until, until))


class Orders:
    """What one attempt hears.

    Args:
        place: its working folder.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def is_set(self) -> bool:
        """Say whether the attempt is to end."""
        return self._place.order.exists()

    def wait(self, seconds: float) -> bool:
        """Sleep, then say whether the attempt is to end."""
        time.sleep(seconds)
        return self.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep until the attempt is to end, or for some seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.wait(min(left, _POLL_SECONDS)):
            pass

    def obey(self) -> None:
        """Go on only if the attempt may.

        When its lease has run out, as after a freeze of this machine, another attempt may hold the task: the
        agent is asking, and its answer is waited for. If none comes, the attempt's next call brings the answer.

        Raises:
            Stopped: the orchestrator wants it to end.
            Released: this worker ends.
        """
        patience = time.monotonic() + _PATIENCE_SECONDS
        while True:
            order = given(self._place)
            if order is not None:
                raise {Kind.STOP: Stopped, Kind.RELEASE: Released}[order.kind](order.reason)
            if clock() < self._place.owner.stat().st_mtime or time.monotonic() > patience:
                return
            time.sleep(_POLL_SECONDS)
