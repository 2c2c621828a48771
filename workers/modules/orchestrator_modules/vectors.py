"""The lists that members of messages are: who reads one holds the very list."""

import ctypes
from collections.abc import Iterator, MutableSequence
from numbers import Integral
from typing import Any, Generic, TypeVar

Element = TypeVar("Element", str, int)


class Vector(MutableSequence[Element], Generic[Element]):
    """A list whose elements are of one kind; what is none is refused before anything has changed.

    Args:
        given: what it holds; nothing by default.

    Raises:
        TypeError: it, or an element, is of another kind.
        ValueError: it is None.
    """

    __hash__ = None  # type: ignore[assignment]
    _elements: Any

    def __init__(self, given: Any = (), /) -> None:
        self._elements = self._read(given)

    @classmethod
    def _read(cls, given: Any) -> Any:
        """Return new elements that are equal to what is given."""
        raise NotImplementedError

    @staticmethod
    def _element(given: Any) -> Element:
        raise NotImplementedError

    def _resizable(self) -> Any:
        """Return the elements, to be made more or fewer."""
        return self._elements

    def assign(self, given: Any, /) -> None:
        """Hold what is given, and nothing else; raises as the constructor."""
        elements = self._read(given)
        if len(elements) == len(self._elements):
            self._elements[:] = elements
        else:
            self._resizable()[:] = elements

    def size(self) -> int:
        """Return how many elements there are."""
        return len(self._elements)

    def empty(self) -> bool:
        """Return whether there are none."""
        return not self._elements

    def push_back(self, element: Element, /) -> None:
        """Append an element."""
        self.append(element)

    def insert(self, index: int, value: Element) -> None:
        """Put an element before another."""
        element = self._element(value)
        self._resizable().insert(index, element)

    def extend(self, values: Any) -> None:
        """Append what the constructor takes."""
        elements = self._read(values)
        self._resizable().extend(elements)

    def clear(self) -> None:
        """Remove all."""
        self._resizable().clear()

    def __len__(self) -> int:
        return len(self._elements)

    def __iter__(self) -> Iterator[Element]:
        return iter(self._elements)

    def __getitem__(self, index: Any) -> Any:
        found = self._elements[index]
        return type(self)(found) if isinstance(index, slice) else found

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(index, slice):
            self._elements[index] = self._element(value)
            return
        elements = self._read(value)
        changed = self._elements[:]
        changed[index] = elements
        self.assign(changed)

    def __delitem__(self, index: Any) -> None:
        del self._resizable()[index]

    def __contains__(self, value: object) -> bool:
        return any(value == element for element in self._elements)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Vector):
            return bool(self._elements == other._elements)
        return list(self._elements) == list(other) if isinstance(other, list | tuple) else NotImplemented

    def __repr__(self) -> str:
        return repr(list(self._elements))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._elements[:],)


class std_string_vec(Vector[str]):  # noqa: N801 - as module scripts know it
    """A list of texts."""

    @classmethod
    def _read(cls, given: Any) -> list[str]:
        if given is None:
            raise ValueError("a list of texts is expected, not None")
        if isinstance(given, str):
            # Who writes one text means one, not its letters.
            return [cls._element(given)]
        if not isinstance(given, list | tuple | std_string_vec):
            raise TypeError(f"a list of texts is expected, not {type(given).__name__}")
        return [cls._element(each) for each in given]

    @staticmethod
    def _element(given: Any) -> str:
        if not isinstance(given, str):
            raise TypeError(f"a text is expected in a list of texts, not {type(given).__name__}")
        given.encode()
        return given


class Buffer:
    """The memory that holds the bytes of a vector; `int()` of it is the address.

    Args:
        room: the memory, held as long as this is.
    """

    def __init__(self, room: Any) -> None:
        self._room = room

    def __int__(self) -> int:
        return ctypes.addressof(self._room)

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<memory at {int(self):#x}>"


class uint8_t_vector(Vector[int]):  # noqa: N801 - as module scripts know it
    """A list of numbers from 0 to 255, which lie side by side in memory."""

    _room: Any = None

    def __init__(self, given: Any = (), /) -> None:
        super().__init__(given)
        self._left: list[Any] = []

    @classmethod
    def _read(cls, given: Any) -> bytearray:
        if given is None:
            raise ValueError("bytes are expected, not None")
        if isinstance(given, uint8_t_vector):
            return bytearray(given._elements)
        if isinstance(given, bytes | bytearray):
            return bytearray(given)
        if isinstance(given, list | tuple):
            return bytearray(cls._element(each) for each in given)
        try:
            view = memoryview(given)
        except TypeError:
            raise TypeError(f"bytes are expected, not {type(given).__name__}") from None
        # Of arrays of larger numbers the numbers count, not how they lie in memory.
        return bytearray(view.tobytes() if view.format in ("B", "c") else map(cls._element, view.tolist()))

    @staticmethod
    def _element(given: Any) -> int:
        if not isinstance(given, Integral) or not 0 <= int(given) <= 255:
            what = given if isinstance(given, Integral) else type(given).__name__
            raise TypeError(f"a number from 0 to 255 is expected in bytes, not {what}")
        return int(given)

    def get_buffer(self) -> Buffer:
        """Return where the bytes lie in memory; that stays readable as long as this vector lives."""
        if self._room is None:
            # Empty, too, it has an address.
            size = len(self._elements)
            self._room = (ctypes.c_ubyte * size).from_buffer(self._elements) if size else (ctypes.c_ubyte * 1)()
        return Buffer(self._room)

    def _resizable(self) -> bytearray:
        if self._room is not None:
            # Whoever was told the address may still read there.
            self._left.append(self._room)
            self._room = None
            self._elements = bytearray(self._elements)
        elements: bytearray = self._elements
        return elements

    def __bytes__(self) -> bytes:
        return bytes(self._elements)

    def __eq__(self, other: object) -> bool:
        return bool(self._elements == other) if isinstance(other, bytes | bytearray) else super().__eq__(other)

    def __repr__(self) -> str:
        return repr(bytes(self._elements))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (bytes(self._elements),)

    __hash__ = None
