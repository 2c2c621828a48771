"""Lists: which page of them is asked for, how it is sorted and what is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.core.errors import NotFoundError
from orchestrator.executions.errors import FieldsError

DEFAULT_SIZE, LARGEST_SIZE = 100, 500
LAST = "last"

_DEFAULT_SORT = "-created_at"
_LONGEST_NUMBER = 18


class NoPageError(NotFoundError):
    """The list has no such page."""


@dataclass(frozen=True)
class Listing:
    """What of a list is asked for.

    Args:
        page: its number as it was asked for: from 1, or `last`.
        size: rows of a page.
        sort: names of columns, those that descend with a minus.
        filters: column -> value.
    """

    page: str
    size: int
    sort: Sequence[str]
    filters: Mapping[str, str]

    def number(self, count: int) -> int:
        """Return the number of the page, of a list of so many rows.

        Raises:
            NoPageError: there is no such page.
        """
        last = self.last(count)
        if self.page == LAST:
            return last
        page = self.page
        number = int(page) if page.isascii() and page.isdigit() and len(page) <= _LONGEST_NUMBER else 0
        if not 1 <= number <= last:
            raise NoPageError("Invalid page.")
        return number

    def last(self, count: int) -> int:
        """Return the number of the last page of a list of so many rows; an empty one has page 1."""
        return max(1, -(-count // self.size))


def read(
    query: Mapping[str, str], sortable: Sequence[str], filters: Sequence[str], choices: Mapping[str, Sequence[str]]
) -> Listing:
    """Return what is asked for.

    Args:
        query: the parameters of the request.
        sortable: names of columns that it may be sorted by.
        filters: names of columns that are compared with a parameter of the same name.
        choices: the values that some of them may have.

    Raises:
        FieldsError: a filter has none of them.
    """
    wanted = {name: query[name] for name in filters if query.get(name)}
    problems = {
        name: [f"Select a valid choice. {value} is not one of the available choices."]
        for name, value in wanted.items()
        if name in choices and value not in choices[name]
    }
    if problems:
        raise FieldsError(problems)
    names = [name.strip() for name in query.get("sort", "").split(",")]
    sort = [name for name in names if name.removeprefix("-") in sortable]
    return Listing(query.get("page", "1"), _size(query.get("page_size", "")), sort or [_DEFAULT_SORT], wanted)


def _size(given: str) -> int:
    number = int(given) if given.isascii() and given.isdigit() and len(given) <= _LONGEST_NUMBER else 0
    return min(number, LARGEST_SIZE) if number > 0 else DEFAULT_SIZE
