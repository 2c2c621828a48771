"""Keys: which assets of a channel have one that begins so."""

import re
from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Table, select

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError
from orchestrator.engine.transaction import Transaction
from orchestrator.store import tables

MOST = 10
"""How many are answered of each kind."""

_TABLES: Mapping["pb.AssetKind.ValueType", Table] = {
    pb.ASSET_COMPUTE_PLAN: tables.compute_plans,
    pb.ASSET_COMPUTE_TASK: tables.tasks,
    pb.ASSET_FUNCTION: tables.functions,
    pb.ASSET_DATA_MANAGER: tables.data_managers,
    pb.ASSET_DATA_SAMPLE: tables.data_samples,
    pb.ASSET_MODEL: tables.models,
}
_DIGITS = 32
_HEXADECIMAL = re.compile(r"[0-9a-f]*")


def find(transaction: Transaction, wanted: pb.FindKeysParam) -> pb.FindKeysResponse:
    """List the keys of some kinds of assets that begin so, in their order, the first few of each kind.

    Raises:
        BadRequestError: a kind has no keys.
    """
    unknown = [kind for kind in wanted.kinds if kind not in _TABLES]
    if unknown or not wanted.kinds:
        known = ", ".join(pb.AssetKind.Name(kind) for kind in _TABLES)
        raise BadRequestError(f"kinds: some of {known} are expected")
    beginning = wanted.beginning.lower()
    digits = beginning.replace("-", "")
    if len(digits) > _DIGITS or not _HEXADECIMAL.fullmatch(digits):
        return pb.FindKeysResponse()
    first, last = UUID(digits.ljust(_DIGITS, "0")), UUID(digits.ljust(_DIGITS, "f"))
    if not str(first).startswith(beginning):
        # Its dashes stand where keys have none.
        return pb.FindKeysResponse()
    found = []
    for kind in dict.fromkeys(wanted.kinds):
        table = _TABLES[kind].c
        keys = select(table.key).where(table.key.between(first, last), table.channel == transaction.channel)
        rows = transaction.connection.execute(keys.order_by(table.key).limit(MOST)).scalars()
        found += [pb.FoundKey(kind=kind, key=str(key)) for key in rows]
    return pb.FindKeysResponse(found=found)
