"""The id of an iteration: of which problem it is, and which of its iterations."""

from functools import total_ordering
from typing import Any, overload

_MOST = (1 << 32) - 1


@total_ordering
class TaskId:
    """`{problem, iteration}`, both unsigned numbers of 32 bits; `{0, 0}` is none.

    Args:
        arguments: nothing, another one, or the two numbers.

    Raises:
        TypeError: they are something else.
    """

    def __init__(self, *arguments: Any) -> None:
        match arguments:
            case ():
                self._numbers = (0, 0)
            case (TaskId() as other,):
                self._numbers = other._numbers
            case (problem, iteration):
                self._numbers = (_number(problem), _number(iteration))
            case _:
                raise TypeError("TaskId takes nothing, another TaskId, or a problem's and an iteration's number")

    @overload
    def problem_id(self) -> int: ...
    @overload
    def problem_id(self, given: int, /) -> None: ...
    def problem_id(self, *given: Any) -> int | None:
        """Return the problem's number, or set it."""
        if not given:
            return self._numbers[0]
        (number,) = _one(given)
        self._numbers = (_number(number), self._numbers[1])
        return None

    @overload
    def iteration_id(self) -> int: ...
    @overload
    def iteration_id(self, given: int, /) -> None: ...
    def iteration_id(self, *given: Any) -> int | None:
        """Return the iteration's number, or set it."""
        if not given:
            return self._numbers[1]
        (number,) = _one(given)
        self._numbers = (self._numbers[0], _number(number))
        return None

    def assign(self, other: "TaskId") -> None:
        """Become equal to another one."""
        self._numbers = other._numbers

    def __eq__(self, other: object) -> bool:
        return self._numbers == other._numbers if isinstance(other, TaskId) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._numbers < other._numbers if isinstance(other, TaskId) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._numbers)

    def __repr__(self) -> str:
        return "{{{}, {}}}".format(*self._numbers)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._numbers


def _one(given: tuple[Any, ...]) -> tuple[Any]:
    if len(given) != 1:
        raise TypeError(f"one value is expected, not {len(given)}")
    return given


def _number(given: Any) -> int:
    if not isinstance(given, int):
        raise TypeError(f"an integer is expected, not {type(given).__name__}")
    if not 0 <= given <= _MOST:
        raise TypeError(f"{given} is not in the range 0 to {_MOST}")
    return int(given)
