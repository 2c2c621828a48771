"""The parts that may be left out of an installation, and what is said where one is."""

from collections.abc import Mapping
from importlib.util import find_spec

from orchestrator.cli.errors import UsageFault

EXTRAS: Mapping[str, str] = {
    "demo": "embedded",
    "up": "embedded",
    "down": "embedded",
    "serve": "server",
    "migrate": "server",
    "token": "server",
    "beat": "server",
    "flower": "server",
    "broker": "server",
    "worker": "worker",
    "store": "worker",
    "runtime": "worker",
}
"""Command -> the extra of this project with what it needs; the others need none."""

_MARKS = {"server": ("sqlalchemy", "celery"), "worker": ("celery", "uvicorn"), "embedded": ("sqlalchemy", "psutil")}
"""Extra -> modules that are there where it is installed."""
_OURS = {"orchestrator", "workers", "beat", "migrations", "examples"}


def check(command: str) -> None:
    """Do nothing if what a command needs is installed.

    Raises:
        UsageFault: it is not; it says which extra to install.
    """
    extra = EXTRAS.get(command)
    if extra and not all(find_spec(module) for module in _MARKS[extra]):
        raise UsageFault(advice(command, extra))


def missing(command: str, error: ModuleNotFoundError) -> UsageFault | None:
    """Return what to say where a module of others was not found; None where it is one of ours, which is a fault.

    Args:
        command: that was run.
        error: what it raised.
    """
    module = (error.name or "").partition(".")[0]
    if module in _OURS or not module:
        return None
    # What a user's commands need is always there, so here one was asked for more, as by `audit check --database`, or in
    # the folder of a federation that another environment runs.
    extra = EXTRAS.get(command) or next((name for name, modules in _MARKS.items() if module in modules), "server")
    return UsageFault(f"{advice(command, extra)} (there is no module {module})")


def advice(command: str, extra: str) -> str:
    """Return which extra a command needs, and how it is installed."""
    return (
        f"`orchestrator {command}` needs the extra {extra!r}, which is not installed: run "
        f"`pip install '.[{extra}]'` in a checkout of this project"
    )
