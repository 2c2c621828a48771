"""The types of messages, made of the table of members: a method for each, which reads without an argument and writes
the one that it is given."""

import copy
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from orchestrator_modules.members import MEMBERS
from orchestrator_modules.values import Value

_LONGEST_SHOWN = 200
_PACKAGE = "sustainml_swig"


class Message:
    """A message; its members are read and written by methods of their names.

    Args:
        other: of the same type, to be copied; blank by default.

    Raises:
        TypeError: it is of another type.
    """

    MEMBERS: ClassVar[Mapping[str, Value]] = {}
    written: frozenset[str] = frozenset()
    """The members that were written since it was made."""
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, other: Self | None = None, /) -> None:
        kinds = self.MEMBERS
        if other is None:
            self._values = {name: kind.blank() for name, kind in kinds.items()}
        elif isinstance(other, type(self)):
            self._values = {name: copy.copy(value) for name, value in other._values.items()}
        else:
            raise TypeError(f"{type(self).__name__} is made of nothing or of another, not of {type(other).__name__}")

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Return one with members that have come from elsewhere; those that it does not know are left out.

        Raises:
            TypeError: one does not fit.
            ValueError: likewise.
        """
        made = cls()
        for name in members.keys() & cls.MEMBERS.keys():
            value = members[name]
            if cls.MEMBERS[name].name == "task_id":
                value = type(made._values[name])(*value)
            getattr(made, name)(value)
        return made

    def members(self) -> dict[str, Any]:
        """Return what it holds, as numbers, texts, bytes, lists and pairs."""
        return {name: kind.plain(self._values[name]) for name, kind in self.MEMBERS.items()}

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, type(self)) else NotImplemented

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_short(value)}" for name, value in self._values.items())
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self.members())


def _made(cls: type[Message], members: Mapping[str, Any]) -> Message:
    return cls.of(members)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _accessor(name: str, kind: Value) -> Any:
    def accessor(self: Message, *given: Any) -> Any:
        if not given:
            return self._values[name]
        if len(given) > 1:
            raise TypeError(f"{name} takes one value, not {len(given)}")
        try:
            value = kind.read(given[0])
        except (TypeError, ValueError) as error:
            refused = TypeError if isinstance(error, TypeError) else ValueError
            raise refused(f"{type(self).__name__}.{name}: {error}") from None
        self.written |= {name}
        if kind.live:
            self._values[name].assign(value)
        else:
            self._values[name] = value
        return None

    accessor.__name__ = name
    accessor.__qualname__ = name
    accessor.__doc__ = f"Return `{name}` ({kind.name}), or write it."
    return accessor


def _make(name: str, base: type[Message] = Message) -> Any:
    accessors = {member: _accessor(member, kind) for member, kind in MEMBERS[name].items()}
    described = {"__module__": _PACKAGE, "__doc__": f"The message `{name}`.", "MEMBERS": MEMBERS[name]}
    return type(name, (base,), {**accessors, **described})


class _Status(Message):
    """What a node tells of itself; in a callback it also knows whether the attempt must stop."""

    _stopping: threading.Event | None = None

    def update(self, status: Any, /) -> None:
        """Write `node_status`."""
        self.node_status(status)  # type: ignore[attr-defined]

    def cancelled(self) -> bool:
        """Return whether the attempt at which the callback works shall stop."""
        return self._stopping is not None and self._stopping.is_set()

    def watch(self, stopping: threading.Event) -> None:
        """Have `cancelled` tell whether an event is set."""
        self._stopping = stopping


UserInput = _make("UserInput")
AppRequirements = _make("AppRequirements")
HWConstraints = _make("HWConstraints")
MLModelMetadata = _make("MLModelMetadata")
MLModel = _make("MLModel")
HWResource = _make("HWResource")
CO2Footprint = _make("CO2Footprint")
NodeStatus = _make("NodeStatus", _Status)
NodeControl = _make("NodeControl")
RequestType = _make("RequestType")
ResponseType = _make("ResponseType")

TYPES: Mapping[str, type[Message]] = {
    each.__name__: each
    for each in (
        UserInput,
        AppRequirements,
        HWConstraints,
        MLModelMetadata,
        MLModel,
        HWResource,
        CO2Footprint,
        NodeStatus,
        NodeControl,
        RequestType,
        ResponseType,
    )
}
