"""Which executors there are, by the names that ORCHESTRATOR_EXECUTOR may have.

Another package adds one as an entry point of the group `orchestrator.executors` that names its `make`.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeAlias

from workers.executors.executor import Executor, UnfitError

if TYPE_CHECKING:
    from workers.settings import WorkerSettings

GROUP = "orchestrator.executors"
"""The group of entry points."""

Make: TypeAlias = "Callable[[WorkerSettings], Executor]"

OURS = ("sandbox", "subprocess")
"""Those that this project has itself."""


def names() -> list[str]:
    """Return the names of all executors that are installed, ours first."""
    return [*OURS, *sorted({point.name for point in entry_points(group=GROUP)} - set(OURS))]


def make(settings: "WorkerSettings") -> Executor:
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
