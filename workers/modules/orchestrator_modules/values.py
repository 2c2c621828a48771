"""The kinds of values that members of messages have: what each accepts, what it refuses and how, what is blank."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from orchestrator_modules.identifier import TaskId
from orchestrator_modules.vectors import std_string_vec, uint8_t_vector

_U32 = range(1 << 32)
_I32 = range(-(1 << 31), 1 << 31)


@dataclass(frozen=True)
class Value:
    """A kind of value.

    Args:
        name: of the kind.
        blank: makes what a member is before it is written.
        read: turns what a caller gives into what is kept, or raises TypeError, or ValueError.
        live: whether who reads it holds the very object; it is written in place then.
        plain: turns what is kept into a value that travels: a number, a text, bytes, a list or a pair.
    """

    name: str
    blank: Callable[[], Any]
    read: Callable[[Any], Any]
    live: bool = False
    plain: Callable[[Any], Any] = lambda kept: kept


def _integer(limits: range) -> Callable[[Any], int]:
    def read(given: Any) -> int:
        if not isinstance(given, Integral):
            raise TypeError(f"an integer is expected, not {type(given).__name__}")
        if int(given) not in limits:
            raise TypeError(f"{given} is not in the range {limits.start} to {limits.stop - 1}")
        return int(given)

    return read


def _float(given: Any) -> float:
    if not isinstance(given, Real):
        raise TypeError(f"a number is expected, not {type(given).__name__}")
    try:
        return float(given)
    except OverflowError:
        raise TypeError(f"{type(given).__name__} is too large for a double") from None


def _bool(given: Any) -> bool:
    if not isinstance(given, bool):
        raise TypeError(f"True or False is expected, not {type(given).__name__}")
    return given


def _text(given: Any) -> str:
    if given is None:
        raise ValueError("a text is expected, not None")
    if not isinstance(given, str):
        raise TypeError(f"a text is expected, not {type(given).__name__}")
    given.encode()  # half of a surrogate pair is no text, and could not be sent: UnicodeEncodeError, a ValueError
    return given


def _task(given: Any) -> TaskId:
    if not isinstance(given, TaskId):
        raise TypeError(f"a TaskId is expected, not {type(given).__name__}")
    return given


U32 = Value("u32", int, _integer(_U32))
I32 = Value("i32", int, _integer(_I32))
ENUM = Value("enum", int, _integer(_I32))
F64 = Value("f64", float, _float)
BOOL = Value("bool", bool, _bool)
STR = Value("str", str, _text)
LIST = Value("list", std_string_vec, std_string_vec, live=True, plain=list)
BYTES = Value("bytes", uint8_t_vector, uint8_t_vector, live=True, plain=bytes)
TASK = Value("task_id", TaskId, _task, live=True, plain=lambda task: (task.problem_id(), task.iteration_id()))
