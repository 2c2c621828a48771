"""Which executors there are, by the names that ORCHESTRATOR_EXECUTOR may have.

Another package adds one as an entry point of the group `orchestrator.executors` that names its `make`.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeAlias

from workers.executors.executor import Executor, UnfitError

GROUP = "orchestrator.executors"
"""The group of entry points."""

Make: TypeAlias = Callable[[Any], Executor]
"""From a worker's settings (`workers.settings`) to the executor."""


class Chosen(Protocol):
    """A worker's settings, as far as they name its executor."""

    executor: str


OURS = ("sandbox", "subprocess", "container", "kubernetes")
"""Those that this project has itself."""


def names() -> list[str]:
    """Return the names of all executors that are installed, ours first."""
    return [*OURS, *sorted({point.name for point in entry_points(group=GROUP)} - set(OURS))]


def make(settings: Chosen) -> Executor:
    """Return the executor that a worker's settings name.

    Raises:
        UnfitError: there is none of that name, or it cannot be loaded.
    """
    return _loaded(settings.executor)(settings)


def _loaded(name: str) -> Make:
    if name in OURS:
        made: Make = import_module(f"workers.executors.{name}").make
        return made
    for point in entry_points(group=GROUP, name=name):
        try:
            made = point.load()
        except (ImportError, AttributeError) as error:
            raise UnfitError(f"the executor {name} ({point.value}) cannot be loaded: {error}") from error
        return made
    raise UnfitError(f"ORCHESTRATOR_EXECUTOR={name}: there is no such executor; expected one of {', '.join(names())}")
