"""Spans: what took how long within what. All that this project traces passes through here.

Nothing is imported and nothing is kept before `begin` finds that OpenTelemetry's variables ask for traces. A program
that uses the SDK and has set up OpenTelemetry for itself gets the spans of its calls among its own.
"""

import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from orchestrator.telemetry import switch
from orchestrator.telemetry.traceparent import NAME

if TYPE_CHECKING:
    from orchestrator.telemetry.tracing import Tracing

Value = str | int
_SDK = "opentelemetry.sdk.trace"
_PARTS = (_SDK, "opentelemetry.exporter.otlp.proto.grpc")


class Kind(Enum):
    """Which part of a conversation a span is, by OpenTelemetry's names."""

    INTERNAL = "INTERNAL"
    CLIENT = "CLIENT"
    SERVER = "SERVER"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


class Span(Protocol):
    """What a block tells of itself."""

    @property
    def traceparent(self) -> str | None:
        """Where it stands; None where nothing is traced."""

    def note(self, name: str, value: Value) -> None:
        """Add an attribute, one of `names`."""

    def fail(self, kind: str) -> None:
        """Note that it failed.

        Args:
            kind: of error: a code or a class, never a message.
        """


class _Untold:
    """The span of a block that nobody traces."""

    traceparent = None

    def note(self, name: str, value: Value) -> None: ...

    def fail(self, kind: str) -> None: ...


_UNTOLD = _Untold()
_NOTHING: AbstractContextManager[Span] = nullcontext(_UNTOLD)
_NO_IDS: Mapping[str, str] = MappingProxyType({})
_own: "Tracing | None" = None


def check() -> None:
    """Check that this process could be traced, if OpenTelemetry's variables ask for it.

    Raises:
        SwitchError: they ask for what cannot be had.
    """
    variable = switch.wanted()
    if variable is not None and not all(map(_is_installed, _PARTS)):
        raise switch.SwitchError(
            f"{variable} asks for traces, and OpenTelemetry's SDK is not installed: install the extra, "
            f"pip install 'orchestrator[telemetry]', or leave the variable out"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def begin(service: str, attributes: Mapping[str, str] | None = None) -> None:
    """Trace this process from now on, if OpenTelemetry's variables ask for it; after a fork, not before.

    Args:
        service: what it is, as in `server`.
        attributes: of all of its spans, by `names`.

    Raises:
        SwitchError: they ask for what cannot be had.
    """
    global _own
    check()
    if switch.wanted() is None or _own is not None:
        return
    from orchestrator.telemetry.tracing import Tracing

    _own = Tracing.exporting(service, attributes or {})


def end() -> None:
    """Send what was not sent yet, and trace no more."""
    global _own
    own, _own = _own, None
    if own is not None:
        own.close()


def on() -> bool:
    """Tell whether this process is traced by itself."""
    return _own is not None


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    attributes: Mapping[str, Value] | None = None,
    *,
    within: str | None = None,
    after: str | None = None,
    root: bool = False,
) -> AbstractContextManager[Span]:
    """Trace a block; what ends it with an exception is noted by its class alone.

    Args:
        name: one for all of its sort.
        kind: of span.
        attributes: by `names`.
        within: the traceparent of the span that it is a part of; by default the one in whose block it is.
        after: the traceparent of a span that it follows, as a link.
        root: whether it begins a trace, whatever it is a part of.
    """
    if _own is not None:
        return _own.span(name, kind.name, attributes, within, after, root)
    if _SDK not in sys.modules:
        return _NOTHING
    from orchestrator.telemetry import program

    return program.span(name, kind.name, attributes)


def nothing() -> AbstractContextManager[Span]:
    """Return a block that is no part of any trace."""
    return _NOTHING


@contextmanager
def calling(name: str, attributes: Mapping[str, Value], headers: MutableMapping[str, str]) -> Iterator[Span]:
    """Trace a block that calls somebody else, and add to what is sent where it stands."""
    with span(name, Kind.CLIENT, attributes) as told:
        if told.traceparent is not None:
            headers[NAME] = told.traceparent
        yield told


def current() -> str | None:
    """Return the traceparent of the span in whose block this is; None where nothing is traced by this process."""
    told = None if _own is None else _own.innermost()
    return None if told is None else told.traceparent


def ids() -> Mapping[str, str]:
    """Return what a line of the log bears of the span in whose block it is written."""
    told = None if _own is None else _own.innermost()
    return _NO_IDS if told is None else told.ids
