"""The server that is adopted from, as the contract shows it: its events, the oldest first, and its lists."""

import queue
import threading
from typing import Self
from uuid import UUID

import grpc

from orchestrator import protos as pb
from orchestrator.client import CallError, Client

_AHEAD = 5_000


class Stream:
    """The events of a channel after one, those to come included; a thread reads them ahead.

    Args:
        client: of the other server.
        after: the event after which it begins; None for all.
    """

    def __init__(self, client: Client, after: UUID | None) -> None:
        asked = pb.SubscribeToEventsParam(start_event_id="" if after is None else str(after))
        self._call = client.events.SubscribeToEvents(asked)
        self._read: queue.Queue[pb.Event | Exception] = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="adoption", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._call.cancel()
        self._thread.join()

    def take(self, most: int, patience: float) -> list[pb.Event]:
        """Return the next events; none where none has come for some seconds.

        Args:
            most: of them.
            patience: seconds.

        Raises:
            CallError: the other server has ended the stream, or the connection is lost.
        """
        taken: list[pb.Event] = []
        try:
            while len(taken) < most:
                found = self._read.get(timeout=0 if taken else patience)
                if isinstance(found, Exception):
                    if taken:
                        # It is told when it is asked for again.
                        self._read.put(found)
                        break
                    raise found
                taken.append(found)
        except queue.Empty:
            pass
        return taken

    def _follow(self) -> None:
        try:
            for event in self._call:
                self._put(event)
        except grpc.RpcError as error:
            self._put(CallError.of(error))

    def _put(self, found: pb.Event | Exception) -> None:
        while not self._closed.is_set():
            try:
                self._read.put(found, timeout=0.1)
                return
            except queue.Full:
                continue


def newest(client: Client) -> UUID | None:
    """Return the id of the event with the newest time, None without any."""
    asked = pb.QueryEventsParam(page_size=1, sort=pb.DESCENDING)
    found = client.events.QueryEvents(asked).events
    return UUID(found[0].id) if found else None
