"""What the tasks of a call refer to: read, and locked, in one statement, however few or many they are."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import TextClause

from orchestrator import protos as pb
from orchestrator.compute import definitions, models
from orchestrator.compute import tasks as compute_tasks
from orchestrator.compute.references import References
from orchestrator.compute.registration import Known
from orchestrator.compute.tasks import KIND, state
from orchestrator.core.errors import ConflictError
from orchestrator.engine import plans
from orchestrator.engine.plans import Plan
from orchestrator.engine.transaction import Transaction
from orchestrator.store.connection import Row
from orchestrator.store.statements import each, few, statement

Asset = TypeVar("Asset", bound=Message)

_TAKEN, _PARENT, _FUNCTION, _MEMBERS, _PLAN, _MANAGER, _SAMPLE, _MODEL = range(8)
_KINDS = {"managers": pb.ASSET_DATA_MANAGER, "samples": pb.ASSET_DATA_SAMPLE, "models": pb.ASSET_MODEL}

_READ = """
    WITH function AS MATERIALIZED (
             SELECT key, message FROM $FUNCTIONS JOIN functions USING (key)
             WHERE $OWN ORDER BY key $LOCK_FUNCTIONS
         ),
         parent AS MATERIALIZED (
             SELECT key, kind, tasks.plan_key, requires, status, message
             FROM $PARENTS JOIN tasks USING (key) JOIN task_states USING (key)
             WHERE $OWN
         )
         $HELD
         $MODELS
    SELECT $TAKEN AS what, key, CAST(NULL AS bytea) AS message, CAST(NULL AS text) AS kind,
           CAST(NULL AS smallint) AS status, CAST(NULL AS text) AS owner, CAST(NULL AS timestamptz) AS ended_at,
           CAST(NULL AS text[]) AS members
    FROM (SELECT tasks.key FROM $NEW LIMIT 1) AS taken
    UNION ALL
    SELECT $PARENT, key, message, kind, status, NULL, NULL, NULL FROM parent
    UNION ALL
    SELECT $FUNCTION, key, message, NULL, NULL, NULL, NULL, NULL FROM function
    UNION ALL
    SELECT $FUNCTION, key, message, NULL, NULL, NULL, NULL, NULL FROM functions
    WHERE key IN (SELECT requires FROM parent EXCEPT SELECT key FROM function) AND $OWN
    UNION ALL
    SELECT $MEMBERS, NULL, NULL, NULL, NULL, NULL, NULL, array_agg(id) FROM organizations WHERE channel = :channel
    $PLANS
    $GIVEN
"""
# In the order of all who take these locks (`engine.transitions`): so the parents' states are from before their plans
# were held.
_HELD = """,
         wanted AS MATERIALIZED (SELECT key FROM $WANTED UNION SELECT plan_key FROM parent),
         $LATCHED
"""
_PLANS = """
    UNION ALL
    SELECT $PLAN, key, NULL, kind, outcome, owner, ended_at, NULL FROM plan
"""
# A transient one is not disabled between the look at it and the note that it is used.
_MODELS = """,
         model AS MATERIALIZED (
             SELECT key, message FROM $MODEL_KEYS JOIN models USING (key)
             WHERE $OWN $AFTER_PLANS ORDER BY key $LOCK_MODELS
         )
"""
_GIVEN = """
    UNION ALL
    SELECT $MODEL, key, message, NULL, NULL, NULL, NULL, NULL FROM model
    UNION ALL
    SELECT $MANAGER, key, message, NULL, NULL, NULL, NULL, NULL FROM $MANAGERS JOIN data_managers USING (key)
    WHERE $OWN
    UNION ALL
    SELECT $SAMPLE, key, message, NULL, NULL, NULL, NULL, NULL FROM $SAMPLES JOIN data_samples USING (key)
    WHERE $OWN
"""


@cache
def _read(locks: bool, given: bool) -> TextClause:
    """Return the statement, whether it locks, and whether it reads what is given by its key."""
    return statement(
        _READ,
        HELD=_HELD if locks else "",
        PLANS=_PLANS if locks else "",
        MODELS=_MODELS if given else "",
        GIVEN=_GIVEN if given else "",
        LATCHED=plans.held("wanted", after="function"),
        LOCK_FUNCTIONS="FOR SHARE OF functions" if locks else "",
        LOCK_MODELS="FOR SHARE OF models" if locks else "",
        AFTER_PLANS="AND (SELECT count(*) FROM plan) >= 0" if locks else "",
        # By their keys, also where Postgres does not know yet how many a channel has.
        OWN="(channel = :channel) IS TRUE",
        FUNCTIONS=few("functions"),
        PARENTS=few("parents"),
        NEW=each("tasks", "new"),
        WANTED=few("plans"),
        MODEL_KEYS=few("models"),
        MANAGERS=few("managers"),
        SAMPLES=few("samples"),
        TAKEN=str(_TAKEN),
        PARENT=str(_PARENT),
        FUNCTION=str(_FUNCTION),
        MEMBERS=str(_MEMBERS),
        PLAN=str(_PLAN),
        MANAGER=str(_MANAGER),
        SAMPLE=str(_SAMPLE),
        MODEL=str(_MODEL),
    )


def look_up(transaction: Transaction, references: References, to_come: Plan | None = None) -> Known:
    """Return what tasks refer to outside of their call, locked until the transaction ends.

    The states of the parents are from before their plans were held: see `engine.registrations`.

    Args:
        transaction: of the caller.
        references: of the tasks.
        to_come: where given, the plan that is not there yet and that they would belong to: nothing is locked then.

    Raises:
        ConflictError: one of the tasks is there already.
    """
    graph, locks = references.graph, to_come is None
    given = _given(transaction, references)
    parents = keys_of(parent for above in graph.values() for parent in above if parent not in graph)
    asked: dict[str, object] = {
        "channel": transaction.channel,
        "functions": keys_of(references.functions),
        "parents": parents,
        "new": keys_of(graph),
    }
    if locks:
        asked["plans"] = keys_of(references.plans)
    if given:
        asked |= {name: given[kind] for name, kind in _KINDS.items()}
    found = _found(transaction, _read(locks, bool(given)), asked)
    if len(found[_PARENT]) < len(parents):
        # It may have come while its plan was waited for.
        found = _found(transaction, _read(locks, bool(given)), asked)
    transaction.referred()
    if found[_TAKEN]:
        raise ConflictError(f"task {found[_TAKEN][0].key} exists already")
    plans_found = [Plan(row.key, row.kind, row.owner, row.ended_at, row.status) for row in found[_PLAN]]
    return Known(
        plans={str(plan.key): plan for plan in plans_found + ([to_come] if to_come else []) if plan.kind == KIND},
        functions=_messages(found[_FUNCTION], pb.Function),
        data_managers=_messages(found[_MANAGER], pb.DataManager),
        data_samples=_messages(found[_SAMPLE], pb.DataSample),
        models=_messages(found[_MODEL], pb.Model),
        parents={
            str(row.key): pb.ComputeTask.FromString(row.message + state(row.status))
            for row in found[_PARENT]
            if row.kind == KIND
        },
        disabled=_disabled(transaction, {row.key: row.status for row in found[_PARENT]}),
        organizations=set(found[_MEMBERS][0].members or ()),
    )


def seen_again(transaction: Transaction, known: Known) -> Known:
    """Return what was looked up with the states that the parents are in since their plans are held."""
    parents = compute_tasks.get_many(transaction, keys_of(known.parents))
    statuses = {UUID(key): task.status for key, task in parents.items()}
    return replace(known, parents=parents, disabled=_disabled(transaction, statuses))


def _found(transaction: Transaction, read: TextClause, asked: Mapping[str, object]) -> Mapping[int, list[Row]]:
    found: defaultdict[int, list[Row]] = defaultdict(list)
    for row in transaction.connection.execute(read, asked):
        found[row.what].append(row)
    return found


def _disabled(transaction: Transaction, statuses: Mapping[UUID, int]) -> set[str]:
    """Return the keys of those tasks that have a disabled model; only one that is Done can have."""
    done = [key for key, status in statuses.items() if status == pb.STATUS_DONE]
    return models.disabled_parents(transaction, done)


def _messages(rows: Iterable[Row], message: type[Asset]) -> dict[str, Asset]:
    return {str(row.key): message.FromString(row.message) for row in rows}


def _given(transaction: Transaction, references: References) -> Mapping["pb.AssetKind.ValueType", list[UUID]]:
    """Return the keys of the assets that tasks are given, by their kinds."""
    kinds = definitions.inputs(transaction, keys_of(function for function, _ in references.assets))
    found: defaultdict[pb.AssetKind.ValueType, dict[str, None]] = defaultdict(dict)
    for (function, identifier), keys in references.assets.items():
        if kind := kinds.get(UUID(function), {}).get(identifier):
            found[kind] |= keys
    return defaultdict(list, {kind: keys_of(keys) for kind, keys in found.items()})


def keys_of(keys: Iterable[str]) -> list[UUID]:
    """Return keys, each once."""
    return [UUID(key) for key in dict.fromkeys(keys)]
