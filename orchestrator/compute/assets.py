"""The tables whose rows are an asset's message: read, locked, written and listed all in the same way."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Table, TextClause, select, update
from sqlalchemy.dialects.postgresql import insert

from orchestrator import protos as pb
from orchestrator.core.errors import ConflictError, NotFoundError
from orchestrator.core.fields import check_size
from orchestrator.engine.transaction import Transaction
from orchestrator.store import pages, tables
from orchestrator.store.statements import statement

Asset = TypeVar("Asset", bound=Message)


@dataclass(frozen=True)
class Assets(Generic[Asset]):
    """The assets of one kind.

    Args:
        noun: what people call one.
        table: where they are kept.
        message: the type of their message.
    """

    noun: str
    table: Table
    message: type[Asset]

    def insert(self, transaction: Transaction, asset: Asset, **columns: Any) -> None:
        """Keep a new asset of the caller; `columns` are those that only this table has.

        Raises:
            ConflictError: its key is taken, in this channel or in another.
            InvalidAssetError: it is too large to be read again.
        """
        self.insert_many(transaction, [asset], [columns])

    def insert_many(
        self, transaction: Transaction, assets: Collection[Asset], columns: Iterable[Mapping[str, Any]]
    ) -> None:
        """Keep new assets; see `insert`."""
        rows = [
            {
                "key": UUID(asset.key),  # type: ignore[attr-defined]
                "channel": transaction.channel,
                "owner": asset.owner,  # type: ignore[attr-defined]
                "created_at": transaction.now,
                "message": asset.SerializeToString(),
                **extra,
            }
            for asset, extra in zip(assets, columns, strict=True)
        ]
        for row in rows:
            check_size(len(row["message"]), f"{self.noun} {row['key']}")
        if len(rows) == 1:
            kept = set(transaction.connection.execute(_insert(self.table.name, tuple(rows[0])), rows[0]).scalars())
        else:
            many = insert(self.table).on_conflict_do_nothing(index_elements=["key"]).returning(self.table.c.key)
            kept = set(transaction.connection.execute(many, rows).scalars())
        if len(kept) < len(rows):
            raise self.conflict([row["key"] for row in rows if row["key"] not in kept])

    def conflict(self, taken: Collection[UUID]) -> ConflictError:
        """Return why assets are not kept: their keys are taken; where none is, one was given twice."""
        return ConflictError(f"{self.noun} {', '.join(map(str, taken)) or 'given twice'} exists already")

    def get(self, transaction: Transaction, key: UUID, lock: bool = False) -> Asset:
        """Return an asset of this channel.

        Args:
            transaction: of the caller.
            key: which one.
            lock: keep others from changing it until the transaction ends.

        Raises:
            NotFoundError: the channel has none with this key.
        """
        found = self.get_many(transaction, [key], lock)
        if not found:
            raise NotFoundError(f"{self.noun} {key} does not exist")
        return found[str(key)]

    def get_many(
        self, transaction: Transaction, keys: Collection[UUID], lock: bool = False, share: bool = False
    ) -> dict[str, Asset]:
        """Return those assets of this channel that exist, by key; locked in the order of their keys where asked."""
        if not keys:
            return {}
        locks = "FOR NO KEY UPDATE" if lock else "FOR SHARE" if share else ""
        parameters = {"keys": list(keys), "channel": transaction.channel}
        rows = transaction.connection.execute(_select(self.table.name, locks), parameters)
        if lock or share:
            transaction.locked()
        return {str(row.key): self.message.FromString(row.message) for row in rows}

    def save(self, transaction: Transaction, asset: Asset, **columns: Any) -> None:
        """Write an asset that the transaction has locked."""
        key = UUID(asset.key)  # type: ignore[attr-defined]
        statement = update(self.table).where(self.table.c.key == key)
        transaction.connection.execute(statement.values(message=asset.SerializeToString(), **columns))

    def list(self, transaction: Transaction, page: pages.Page, *conditions: Any) -> tuple[list[Asset], str]:
        """Return a page of the channel's assets by date of creation, then key, and the token of the next page."""
        table = self.table.c
        query = select(table.created_at, table.key, table.message).where(
            table.channel == transaction.channel, *conditions
        )
        order = (table.created_at, table.key)
        rows, token = pages.read(transaction.connection, query, page, order, weight=table.message)
        return [self.message.FromString(row["message"]) for row in rows], token


@cache
def _select(table: str, locks: str) -> TextClause:
    return statement(
        """
        SELECT key, message FROM $TABLE
        WHERE key = ANY(CAST(:keys AS uuid[])) AND channel = :channel ORDER BY key $LOCKS
        """,
        TABLE=table,
        LOCKS=locks,
    )


@cache
def _insert(table: str, columns: tuple[str, ...]) -> TextClause:
    return statement(
        "INSERT INTO $TABLE ($COLUMNS) VALUES ($VALUES) ON CONFLICT (key) DO NOTHING RETURNING key",
        TABLE=table,
        COLUMNS=", ".join(columns),
        VALUES=", ".join(f":{column}" for column in columns),
    )


compute_plans = Assets("compute plan", tables.compute_plans, pb.ComputePlan)
functions = Assets("function", tables.functions, pb.Function)
data_managers = Assets("data manager", tables.data_managers, pb.DataManager)
data_samples = Assets("data sample", tables.data_samples, pb.DataSample)
models = Assets("model", tables.models, pb.Model)
