"""A demo as a story: what one product does in a federation of its own, told to a terminal."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from rich.console import Console

from orchestrator.embedded.federation import Federation


class StoryError(Exception):
    """What the demo sent was refused, or never ended; the message is for people."""


@dataclass(frozen=True)
class Telling:
    """How a story is told.

    Args:
        folder: of the federation.
        place: for its data.
        console: where it is told.
        rounds: of training, where the story has such.
        stays: whether everything runs on afterwards.
    """

    folder: Path
    place: Path
    console: Console
    rounds: int
    stays: bool

    def say(self, words: str) -> None:
        """Print a sentence, in one line however long it is."""
        self.console.print(words, soft_wrap=True)


class Story(Protocol):
    """What is told in a federation that runs."""

    @property
    def federation(self) -> Federation:
        """Where it happens."""

    @property
    def further(self) -> str:
        """What one can do there afterwards, for people."""

    def tell(self) -> list[str]:
        """Tell it; return what is not as it should be, in a few words each.

        Raises:
            StoryError: what it sends is refused, or never ends.
            ProcessError: a process of the federation ended.
            CallError: the orchestrator refused a call.
            StoreError: an asset store refused an upload.
            BuildError: a function was not built.
            httpx.HTTPError: a call was not answered.
            OSError: a file cannot be used, or something took too long.
        """


Staged: TypeAlias = Callable[[Telling], AbstractContextManager[Story]]
"""Runs a story's federation, and what is beside it, as long as the block lasts."""
