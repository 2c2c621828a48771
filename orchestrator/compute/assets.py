"""The tables whose rows are an asset's message: read, locked, written and listed all in the same way."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Table, select, update
from sqlalchemy.dialects.postgresql import insert

from orchestrator import protos as pb
from orchestrator.core.errors import ConflictError, NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.store import pages, tables
from orchestrator.store.statements import any_key

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
        statement = insert(self.table).on_conflict_do_nothing(index_elements=["key"]).returning(self.table.c.key)
        kept = set(transaction.connection.execute(statement, rows).scalars())
        taken = [str(row["key"]) for row in rows if row["key"] not in kept]
        if taken or len(kept) < len(rows):
            raise ConflictError(f"{self.noun} {', '.join(taken) or 'given twice'} exists already")

    def get(self, transaction: Transaction, key: UUID, lock: bool = False) -> Asset:
        """Return an asset of this channel.

        Args:
            transaction: of the caller.
            key: which one.
            lock: keep others from changing it until the transaction ends.

        Raises:
            NotFoundError: the channel has none with this key.
        """
        query = select(self.table.c.message).where(self.table.c.key == key, self.table.c.channel == transaction.channel)
        if lock:
            query = query.with_for_update(key_share=True)
        found = transaction.connection.execute(query).scalar_one_or_none()
        if found is None:
            raise NotFoundError(f"{self.noun} {key} does not exist")
        if lock:
            transaction.locked()
        return self.message.FromString(found)

    def get_many(
        self, transaction: Transaction, keys: Collection[UUID], lock: bool = False, share: bool = False
    ) -> dict[str, Asset]:
        """Return those assets of this channel that exist, by key; locked in the order of their keys where asked."""
        if not keys:
            return {}
        table = self.table.c
        query = (
            select(table.key, table.message)
            .where(table.key == any_key(keys), table.channel == transaction.channel)
            .order_by(table.key)
        )
        if lock or share:
            query = query.with_for_update(read=share, key_share=not share)
        found = {str(row.key): self.message.FromString(row.message) for row in transaction.connection.execute(query)}
        if lock or share:
            transaction.locked()
        return found

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
        rows, token = pages.read(transaction.connection, query, page, (table.created_at, table.key))
        return [self.message.FromString(row["message"]) for row in rows], token


compute_plans = Assets("compute plan", tables.compute_plans, pb.ComputePlan)
functions = Assets("function", tables.functions, pb.Function)
data_managers = Assets("data manager", tables.data_managers, pb.DataManager)
data_samples = Assets("data sample", tables.data_samples, pb.DataSample)
models = Assets("model", tables.models, pb.Model)
