"""Uploads that no asset names: somebody put them into the store, and registered nothing. They go after a time.

What was uploaded is noted in a folder, a file for each name, until the orchestrator was seen to know an asset of its
key: from then on it is never looked at again. So nothing that an asset names, or has ever been seen to name, is
removed, nor what came into the store by another way.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from workers.assets.store import AssetStore
from workers.channels import Channels

log = structlog.get_logger()

_ASK: dict[str, Callable[[Client, str], object]] = {
    "functions": lambda client, key: client.functions.GetFunction(pb.GetFunctionParam(key=key)),
    "data_managers": lambda client, key: client.data_managers.GetDataManager(pb.GetDataManagerParam(key=key)),
    "data_samples": lambda client, key: client.data_samples.GetDataSample(pb.GetDataSampleParam(key=key)),
}


def is_named(channels: Channels, name: str) -> bool:
    """Say whether an asset of some channel has the key of an upload.

    Args:
        channels: the connections of the organization whose store it is.
        name: of the upload.

    Raises:
        grpc.RpcError: one of the channels does not say.
    """
    kind, key = name.split("/")[:2]
    try:
        channels.find(lambda client: _ASK[kind](client, key))
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return False
    return True


@dataclass
class _Found:
    """What one look has found."""

    unnamed: int = 0
    removed: int = 0


class Unnamed:
    """The notes of one store.

    Args:
        store: the store.
        folder: for the notes; nobody else's.
        age: seconds after which an upload that no asset names is removed; 0 keeps them.
        named: says of an upload, by its name, whether an asset names it; raises `grpc.RpcError` where nobody knows.
    """

    def __init__(self, store: AssetStore, folder: Path, age: float, named: Callable[[str], bool]) -> None:
        self._store = store
        self._folder = folder
        self._age = age
        self._named = named
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def note(self, name: str) -> None:
        """Note that something is uploaded, before it is in the store."""
        if self._age:
            self._note(name).touch()

    def wanted(self, name: str) -> None:
        """Note that somebody is about to ask whether this is in the store: its time begins anew."""
        if self._note(name).exists():
            self._note(name).touch()

    def look(self) -> int:
        """Remove what no asset has named for long, and tell how much is unnamed; return how many were removed.

        Raises:
            OSError: the store does not let it.
        """
        found = _Found()
        try:
            for note in sorted(self._folder.iterdir()) if self._age else ():
                self._look(note, unquote(note.name), found)
        except grpc.RpcError as error:
            # It is not known what is named: another time.
            log.warning("uploads.not_looked_at", reason=error.details())
        if found.unnamed:
            log.info("uploads.unnamed", count=found.unnamed, removed=found.removed, age=self._age)
        return found.removed

    def _look(self, note: Path, name: str, found: _Found) -> None:
        # Of a process that was killed meanwhile.
        self._put_back(name)
        noted = note.stat().st_mtime_ns
        if self._named(name):
            note.unlink()
            return
        found.unnamed += 1
        if noted > (time.time() - self._age) * 1e9:
            return
        if self._store.exists(name):
            # Who asks from now on is told that it is not there; who has asked since, or has registered it, has it back.
            self._store.move(name, _aside(name))
            if self._named(name) or note.stat().st_mtime_ns != noted:
                self._put_back(name)
                return
            self._store.remove(_aside(name))
            found.removed += 1
            log.info("upload.removed", name=name, reason="no asset names it")
        note.unlink()

    def _put_back(self, name: str) -> None:
        aside = _aside(name)
        if not self._store.exists(aside):
            return
        if self._store.exists(name):
            self._store.remove(aside)
        else:
            self._store.move(aside, name)

    def _note(self, name: str) -> Path:
        return self._folder / quote(name, safe="")


def _aside(name: str) -> str:
    """Return the name of what is set aside: it is nothing that is served."""
    return f"removed/{quote(name, safe='')}"
