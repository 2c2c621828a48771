"""The image of a run, and what an executor answers whose functions run in images."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

Waiting: TypeAlias = Callable[[], None]
"""Is called while something is waited for, and may raise to end that."""


@dataclass(frozen=True)
class Image:
    """The image that a run has as its root.

    Args:
        name: as the engine finds it.
        whole: whether what runs is in it, and begins where the image says; else the function's folder is seen at
            `/function`, and it begins there.
        entered: whether the words of what runs are arguments of the image's own command.
    """

    name: str
    whole: bool = False
    entered: bool = False


class ImageError(Exception):
    """An image cannot be made.

    Args:
        message: why, one line for people.
        said: what the engine said of it.
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class AwayError(OSError):
    """An image cannot be had now; later it may."""


@runtime_checkable
class Imaging(Protocol):
    """An executor whose functions run in images."""

    def fetch(self, name: str, waiting: Waiting) -> Image:
        """Have an image where it is to run; return it, not whole.

        Args:
            name: of the image.
            waiting: is called meanwhile.

        Raises:
            AwayError: it cannot be had now.
            OSError: the engine is at fault.
        """
        ...


@runtime_checkable
class Building(Imaging, Protocol):
    """An executor that makes the image of a function of its Dockerfile."""

    def build(self, function: Path, checksum: str, bases: Iterable[str], network: bool, waiting: Waiting) -> Image:
        """Make the image of a function; nothing is done twice.

        Args:
            function: its unpacked archive.
            checksum: of the archive: the same function has the same.
            bases: the images that it is made of.
            network: whether the Dockerfile's commands may use the network.
            waiting: is called meanwhile.

        Raises:
            ImageError: the Dockerfile cannot be followed.
            AwayError: what it is made of cannot be had now.
            OSError: the engine is at fault.
        """
        ...
