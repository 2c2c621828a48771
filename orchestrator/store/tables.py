"""The tables. An asset's row holds its message as the contract defines it, and the columns that queries need.

Nothing is ever deleted that another row refers to, and references are checked when an asset is registered, so
there are no foreign keys: their checks would lock rows that transitions need.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

# Theirs are among the tables that the metadata know, once they are imported.
from orchestrator.store import execution_tables, poke_tables, problem_tables, trace_tables  # noqa: F401

metadata = trace_tables.metadata
"""Of all tables, those of the trace and of the products too."""


def _asset(name: str, *columns: Column[object] | Index) -> Table:
    """Return the table of an asset that clients name by a key of their own."""
    return Table(
        name,
        metadata,
        Column("key", Uuid, primary_key=True),
        Column("channel", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("message", LargeBinary, nullable=False),
        *columns,
        Index(f"{name}_page", "channel", "created_at", "key"),
    )


organizations = Table(
    "organizations",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("message", LargeBinary, nullable=False),
)

functions = _asset(
    "functions",
    Column("status", SmallInteger, nullable=False),
    Column("poked_at", DateTime(timezone=True)),
    Column("pokes", Integer, nullable=False, server_default=text("0")),
    Index("functions_to_build", "poked_at", postgresql_where=text("status IN (1, 2)")),
)
"""`poked_at` and `pokes`: when and how often its owner was asked to build it."""

data_managers = _asset("data_managers")

data_samples = _asset(
    "data_samples",
    Column("manager_keys", ARRAY(Uuid), nullable=False),
    Index("data_samples_managers", "manager_keys", postgresql_using="gin"),
)

compute_plans = _asset("compute_plans")

plans = Table(
    "plans",
    metadata,
    Column("key", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("outcome", SmallInteger),
    Column("extended", Integer, nullable=False, server_default=text("0")),
)
"""The plans of tasks of any kind. `ended_at` says when the plan was cancelled or failed first, `outcome` which of the
two; `extended` counts the registrations that put tasks below those that were there."""

tasks = _asset(
    "tasks",
    Column("kind", Text, nullable=False),
    Column("plan_key", Uuid, nullable=False),
    Column("requires", Uuid),
    Column("worker", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default=text("0")),
    Column("rank", Integer, nullable=False),
    Index("tasks_plan", "plan_key", "created_at", "key"),
    Index("tasks_requires", "requires", postgresql_where=text("requires IS NOT NULL")),
)
"""What never changes of a task, but for its `priority`: `kind` is the kind of work (`engine.kinds`), `worker` the
organization that runs it, `queue` where its pokes go, of which those of the highest `priority` come first; `requires`
what must be ready before it may run: a function; `message` is the definition without the status."""

task_states = Table(
    "task_states",
    metadata,
    Column("key", Uuid, primary_key=True),
    Column("plan_key", Uuid, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("pending_parents", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("token_hash", LargeBinary),
    Column("due_at", DateTime(timezone=True)),
    Column("poked_at", DateTime(timezone=True)),
    Column("pokes", Integer, nullable=False, server_default=text("0")),
    Index("task_states_plan", "plan_key"),
    Index("task_states_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    postgresql_with={"fillfactor": 45},
)
"""What changes of a task, under the same key. What each transition writes is in no index, and more than half of a page
is free, for a row that says when it was poked for is wider than one that waits: so a transition writes a narrow row,
and no index. `attempts` counts those that began, `pokes` those that were sent for the attempt that is due; `due_at` is
when a task that is tried again may be claimed; `token_hash` is the SHA-256 of the running attempt's token."""

edges = Table(
    "edges",
    metadata,
    Column("parent", Uuid, primary_key=True),
    Column("child", Uuid, primary_key=True),
    Index("edges_child", "child"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("task_key", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("node", Text),
    Column("claim_id", Text),
    Column("token_hash", LargeBinary),
    Column("claimed_at", DateTime(timezone=True), nullable=False),
    Column("lease_until", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("outcome", SmallInteger),
    Column("fault", Text),
    Column("report_hash", LargeBinary),
    Column("delivered_at", DateTime(timezone=True)),
    Column("stopped_at", DateTime(timezone=True)),
    Column("poked_at", DateTime(timezone=True)),
    Index("attempts_claimed", "claimed_at"),
    postgresql_with={"fillfactor": 50},
)
"""One run of a task. What changes is in no index, as in `task_states`. `outcome` is the state it left the task in;
`fault` is what ended it (`engine.retries`); `report_hash` the SHA-256 of the call that ended it; `delivered_at` and
`stopped_at` say when its node was told to stop, and when it had, `poked_at` when it was told again; token and lease are
absent where a client without attempts started the task (`ApplyTaskAction`)."""

unsettled = Table(
    "unsettled",
    metadata,
    Column("task_key", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
)
"""The attempts that run, or whose end is yet to be counted (`engine.totals`) or to be acknowledged: written with the
attempt, and taken out by the sweep that counts. They are few, and read whole: an index would only cost."""

declines = Table(
    "declines",
    metadata,
    Column("task_key", Uuid, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("plan_key", Uuid, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("declined_at", DateTime(timezone=True), nullable=False),
    Column("message", LargeBinary, nullable=False),
    Index("declines_page", "channel", "declined_at", "task_key"),
    Index("declines_worker", "worker", "channel", "declined_at", "task_key"),
    Index("declines_plan", "plan_key", "declined_at", "task_key"),
)
"""The tasks that their worker has declined. A row counts as long as its task is To do and has had no more `attempts`:
what moves the task deletes it, but may not see one that is written at the same time."""

nodes = Table(
    "nodes",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("organization", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("heard_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("certificate_ends", DateTime(timezone=True)),
    Column("queue", Text, nullable=False),
    Column("slots", Integer),
)
"""The worker processes of organizations, when each was heard last, and when the certificate ends that it showed; which
queue each reads, and how many attempts it can run at once, NULL where it does not say."""

queues = Table(
    "queues",
    metadata,
    Column("name", Text, primary_key=True),
    Column("heard_at", DateTime(timezone=True), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("emptied_at", DateTime(timezone=True)),
)
"""The queues whose nodes have been heard: when one was heard last, in any channel; `since` when there has been one
without a silence between; and when the queue was emptied, since nobody read it."""

sweeps = Table(
    "sweeps",
    metadata,
    Column("name", Text, primary_key=True),
    Column("ran_at", DateTime(timezone=True), nullable=False),
    Column("repaired", BigInteger, nullable=False),
)
"""The sweeps: when each ran last, and how many things it has ever repaired."""

service = Table(
    "service",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("served_since", DateTime(timezone=True), nullable=False),
    Column("served_at", DateTime(timezone=True), nullable=False),
)
"""One row, which all servers write: since when there was always one of them, and when one said so last."""

compatibility = Table(
    "compatibility",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("serves_from", Text, nullable=False),
)
"""One row: the oldest revision of code that runs on these tables, see `migrations`."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("organization", Text, nullable=False),
    Column("channels", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
)
"""The bearer tokens that were ever made; `secret_hash` is the SHA-256 of what its bearer shows beside the id."""

submissions = Table(
    "submissions",
    metadata,
    Column("plan_key", Uuid, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("tasks", Integer, nullable=False),
)
"""The compute plans that came whole; `digest` is the SHA-256 of what was asked for, `tasks` how many it has brought."""

continuations = Table(
    "continuations",
    metadata,
    Column("plan_key", Uuid, primary_key=True),
    Column("origin", Uuid, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Index("continuations_origin", "origin", "created_at", "plan_key"),
)
"""The compute plans that continue another, and how (`ContinuationKind`)."""

continued_tasks = Table(
    "continued_tasks",
    metadata,
    Column("plan_key", Uuid, primary_key=True),
    Column("origin_task", Uuid, primary_key=True),
    Column("task_key", Uuid),
    Column("reused", Boolean, nullable=False),
)
"""What became of a task of the origin in the plan that continues it: its results are `reused`, or `task_key` runs in
its place. Of one that is reused that is the key by which the new plan was sent to call it, NULL without one."""

models = _asset(
    "models",
    Column("position", BigInteger, Identity(always=True)),
    Column("task_key", Uuid, nullable=False),
    Column("output", Text, nullable=False),
    Column("transient", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=text("false")),
    Column("poked_at", DateTime(timezone=True)),
    Index("models_transient", "task_key", postgresql_where=text("transient AND NOT disabled")),
    Index("models_task", "task_key", "output", "position"),
)

model_uses = Table(
    "model_uses",
    metadata,
    Column("task_key", Uuid, primary_key=True),
    Column("user_key", Uuid, primary_key=True),
)
"""The tasks (`user_key`) that are given a transient model of another (`task_key`) by its key."""

performances = Table(
    "performances",
    metadata,
    Column("task_key", Uuid, primary_key=True),
    Column("output", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("value", Float(53), nullable=False),
    Index("performances_page", "channel", "created_at", text("task_key DESC"), "output"),
)

failure_reports = Table(
    "failure_reports",
    metadata,
    Column("asset_key", Uuid, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("message", LargeBinary, nullable=False),
)

totals = Table(
    "totals",
    metadata,
    Column("name", Text, primary_key=True),
    Column("organization", Text, primary_key=True),
    Column("label", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False, server_default=text("0")),
)
"""What a sweep has counted for metrics, see `engine.totals`: how many of what `name` says are in the state, or ended in
the way, that `label` says."""
