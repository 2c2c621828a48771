"""Which assets a list shows, by the filters of the Substra SDK, and in which order.

What is no filter of a kind of asset is refused as the SDK itself refuses it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from substra.sdk import utils

from orchestrator import protos as pb

Row = TypeVar("Row")
Filters = Mapping[str, Any]


def check(kind: Any, filters: dict[str, Any] | None, order_by: str = "creation_date") -> dict[str, Any]:
    """Return filters as they are compared.

    Args:
        kind: of the assets, a `schemas.Type`.
        filters: as they were given.
        order_by: the date to sort by.

    Raises:
        FilterFormatError: a filter has not the form that it must have.
        NotAllowedFilterError: this kind has no such filter.
        OrderingFormatError: nothing can be sorted by this.
    """
    utils.check_search_ordering(order_by)
    given = {name: _plain(wanted) for name, wanted in filters.items()} if isinstance(filters, dict) else filters
    return utils.check_and_format_search_filters(kind, given) or {}


def _plain(wanted: Any) -> Any:
    # A word of an enumeration would be compared by its name in Python.
    return [getattr(each, "value", each) for each in wanted] if isinstance(wanted, list) else wanted


def matches(asset: Any, filters: Filters) -> bool:
    """Say whether an asset passes those filters that it can be looked at for; the others are for who knows more.

    Args:
        asset: a message of ours.
        filters: as `check` returned them.
    """
    return all(_RULES[name](asset, wanted) for name, wanted in filters.items() if name in _RULES)


def ordered(assets: Iterable[Row], order_by: str, ascending: bool) -> list[Row]:
    """Return models by a date; those that have none count as the latest.

    Args:
        assets: the models.
        order_by: the date.
        ascending: whether the earliest comes first.
    """

    def date(asset: Row) -> tuple[bool, Any]:
        found = getattr(asset, order_by, None)
        return found is None, found and found.timestamp()

    return sorted(assets, key=date, reverse=not ascending)


def _one_of(field: str) -> Callable[[Any, list[str]], bool]:
    return lambda asset, wanted: getattr(asset, field) in wanted


def _usable(asset: Any, organizations: list[str]) -> bool:
    process = asset.permissions.process
    return process.public or any(name in process.authorized_ids for name in organizations)


def _described(asset: Any, conditions: list[dict[str, str]]) -> bool:
    return all(_holds(asset.metadata, each) for each in conditions)


def _holds(metadata: Mapping[str, str], condition: dict[str, str]) -> bool:
    if condition["key"] not in metadata:
        return False
    found = metadata[condition["key"]]
    match condition["type"]:
        case "is":
            return found == condition["value"]
        case "contains":
            return condition["value"].lower() in found.lower()
    return True


_RULES: dict[str, Callable[[Any, Any], bool]] = {
    "key": lambda asset, wanted: asset.key in {key.lower() for key in wanted},
    "name": lambda asset, wanted: wanted.lower() in asset.name.lower(),
    "owner": _one_of("owner"),
    "permissions": _usable,
    "metadata": _described,
    "rank": lambda task, wanted: str(task.rank) in wanted,
    "status": lambda task, wanted: pb.ComputeTaskStatus.Name(task.status) in wanted,
}
