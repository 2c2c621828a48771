"""What never changes of functions and of compute plans, kept by each server process: no call reads it twice.

Keys are never used again, so that what is kept under one holds in every channel that knows it. Nothing that permits
anything is kept, and nothing that may change: the status of a function, or who may use it, is read anew.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute.assets import compute_plans, functions
from orchestrator.engine.transaction import Transaction

Value = TypeVar("Value")

_MOST = 10_000


class _Kept(Generic[Value]):
    def __init__(self) -> None:
        self._values: dict[UUID, Value] = {}

    def get(self, key: UUID, read: Callable[[], Value]) -> Value:
        found = self._values.get(key)
        if found is None:
            found = self._keep(key, read())
        return found

    def get_many(
        self, keys: Collection[UUID], read: Callable[[Collection[UUID]], Mapping[UUID, Value]]
    ) -> dict[UUID, Value]:
        found = {key: self._values[key] for key in keys if key in self._values}
        if missing := [key for key in keys if key not in found]:
            found |= {key: self._keep(key, value) for key, value in read(missing).items()}
        return found

    def _keep(self, key: UUID, value: Value) -> Value:
        if len(self._values) >= _MOST:
            self._values.clear()
        self._values[key] = value
        return value


@dataclass(frozen=True)
class Plan:
    """What a compute plan was registered with.

    Args:
        metadata: of the plan.
        created_at: when it was registered.
    """

    metadata: Mapping[str, str]
    created_at: datetime


_OUTPUTS: _Kept[Mapping[str, pb.FunctionOutput]] = _Kept()
_INPUTS: _Kept[Mapping[str, "pb.AssetKind.ValueType"]] = _Kept()
_PLANS: _Kept[Plan] = _Kept()


def outputs(transaction: Transaction, function: UUID) -> Mapping[str, pb.FunctionOutput]:
    """Return the outputs of a function by their identifiers.

    Raises:
        NotFoundError: the channel has none with this key.
    """
    return _OUTPUTS.get(function, lambda: dict(functions.get(transaction, function).outputs))


def inputs(transaction: Transaction, wanted: Collection[UUID]) -> Mapping[UUID, Mapping[str, "pb.AssetKind.ValueType"]]:
    """Return the kinds of the inputs of those functions that the channel has, or this process knows, by identifier."""

    def read(keys: Collection[UUID]) -> dict[UUID, Mapping[str, "pb.AssetKind.ValueType"]]:
        found = functions.get_many(transaction, keys)
        return {UUID(key): {name: spec.kind for name, spec in each.inputs.items()} for key, each in found.items()}

    return _INPUTS.get_many(wanted, read)


def plan(transaction: Transaction, key: UUID) -> Plan:
    """Return what a compute plan was registered with.

    Raises:
        NotFoundError: the channel has none with this key.
    """

    def read() -> Plan:
        found = compute_plans.get(transaction, key)
        return Plan(dict(found.metadata), found.creation_date.ToDatetime(UTC))

    return _PLANS.get(key, read)
