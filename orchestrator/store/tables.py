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

from orchestrator.store import trace_tables

metadata = trace_tables.metadata
"""Of all tables, those of the trace too."""


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
    postgresql_with={"fillfactor": 50},
)
"""What changes of a task, under the same key. What each transition writes is in no index, and half of a page is free:
so a transition writes a narrow row, and no index. `attempts` counts those that began, `pokes` those that were sent for
the attempt that is due; `due_at` is when a task that is tried again may be claimed; `token_hash` is the SHA-256 of the
running attempt's token."""

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
    Index("attempts_open", "task_key", postgresql_where=text("ended_at IS NULL")),
    Index("attempts_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    Index("attempts_to_stop", "ended_at", postgresql_where=text("outcome IN (5, 6) AND stopped_at IS NULL")),
)
"""One run of a task. `outcome` is the state it left the task in; `fault` is what ended it (`engine.retries`);
`report_hash` the SHA-256 of the call that ended it; `delivered_at` and `stopped_at` say when its node was told to stop,
and when it had, `poked_at` when it was told again; token and lease are absent where a client without attempts started
the task (`ApplyTaskAction`)."""

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

schemas = Table(
    "schemas",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("implementation", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("message", LargeBinary, nullable=False),
)
"""The stored workflow templates."""

executions = Table(
    "executions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("definition", LargeBinary, nullable=False),
    Column("reason", Text),
    Column("results", LargeBinary),
    Index("executions_page", "channel", "created_at", "id"),
    Index("executions_schema", "channel", "schema", "created_at", "id"),
    Index("executions_live", "created_at", postgresql_where=text("status IN (1, 2)")),
)
"""The runs of stored workflow templates: `definition` never changes, `reason` says why one has failed, `results` what
it has made."""

stored_files = Table("stored_files", metadata, Column("key", Uuid, primary_key=True))
"""The files that are kept for schemas and executions."""

execution_partners = Table(
    "execution_partners",
    metadata,
    Column("execution", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)
"""What was sent of each data partner's patients with an execution, as JSON."""

execution_runs = Table(
    "execution_runs",
    metadata,
    Column("execution", BigInteger, primary_key=True, autoincrement=False),
    Column("plan", Uuid, nullable=False),
    Column("channel", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("implementation", Text, nullable=False),
    Column("workflow", Text),
    Column("noted_at", DateTime(timezone=True)),
    Column("over_since", DateTime(timezone=True)),
)
"""The executions that are run: the plan of their steps, whose runtimes or workers see to it, what Argo calls their
workflow and when that was noted, and since when it was found ended or gone."""

execution_works = Table(
    "execution_works",
    metadata,
    Column("task", Uuid, primary_key=True),
    Column("execution", BigInteger, nullable=False),
    Column("work", LargeBinary, nullable=False),
    Index("execution_works_execution", "execution"),
)
"""What the worker of a step is told, until it has ended: a packed message, which may name patients."""

task_runs = Table(
    "task_runs",
    metadata,
    Column("plan", Uuid, primary_key=True),
    Column("execution", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("exit_gate", Uuid),
    Column("outcome", SmallInteger),
    Column("reason", Text),
    Column("over_at", DateTime(timezone=True)),
    Index("task_runs_execution", "execution"),
    Index("task_runs_over", "over_at", postgresql_where=text("over_at IS NOT NULL")),
)
"""The executions that workers run: the gate before the exit handler, how the rest ended and why it failed, and when all
had ended well, as long as it may be reported of."""

gangs = Table(
    "gangs",
    metadata,
    Column("gate", Uuid, primary_key=True),
    Column("queue", Text, primary_key=True),
    Column("plan", Uuid, nullable=False),
    Column("count", Integer, nullable=False),
    Index("gangs_plan", "plan"),
)
"""How many of the containers that start together after a gate are for a queue; kept until their run is over."""

communication_adapters = Table(
    "communication_adapters",
    metadata,
    Column("adapter", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("execution", BigInteger, nullable=False),
    Column("worker", Text, nullable=False, server_default=""),
    Column("asked_at", DateTime(timezone=True)),
    Column("gone_at", DateTime(timezone=True)),
)
"""The topics of federated executions, by the K of their names, until some days after they were removed: longer than the
execution. Whose runtimes make and remove them, when they were asked last to remove them, and when they were gone."""

installation = Table("installation", metadata, Column("name", Text, primary_key=True))
"""One row: at random what tells the workflows of this installation from those of others."""

deployments = Table(
    "deployments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("last_problem", Integer, nullable=False, server_default=text("0")),
    Column("last_transaction", Integer, nullable=False, server_default=text("0")),
)
"""The deployments of problems: whose each is, and the greatest ids that were ever given in it."""

problems = Table(
    "problems",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("problem", Integer, primary_key=True, autoincrement=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("last_iteration", Integer, nullable=False),
)
"""The problems, and the greatest number that an iteration of each ever had."""

iterations = Table(
    "iterations",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("problem", Integer, primary_key=True, autoincrement=False),
    Column("iteration", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, Identity(always=True), nullable=False),
    Column("parent", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("deadline_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("preempted_at", DateTime(timezone=True)),
    Column("user_input", LargeBinary, nullable=False),
    Column("secrets", LargeBinary),
    Column("failed_stage", SmallInteger),
    Column("error", LargeBinary),
    Column("final", Boolean, nullable=False, server_default=text("false")),
    Column("next_iteration", Integer),
    Column("idempotency_key", Text),
    Index("iterations_latest", "deployment", "started_at", "sequence"),
    Index("iterations_live", "deadline_at", postgresql_where=text("ended_at IS NULL")),
    Index("iterations_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    Index(
        "iterations_idempotency",
        "deployment",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
)
"""The iterations of problems. `user_input` is a message without secrets, which `secrets` has, encrypted, until it has
ended; `run` counts how often it was begun anew, `error` is that of the stage that failed first, `next_iteration` the
one that its last output made."""

stages = Table(
    "stages",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("problem", Integer, primary_key=True, autoincrement=False),
    Column("iteration", Integer, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("run", Integer, nullable=False),
    Column("task_key", Uuid, nullable=False),
    Column("plan_key", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("replica", Text),
    Column("queued_at", DateTime(timezone=True)),
    Column("started_at", DateTime(timezone=True)),
    Column("slow_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("ended_as", SmallInteger),
    Column("error", LargeBinary),
    Column("warning", LargeBinary),
    Index("stages_task", "task_key", unique=True),
    Index("stages_live", "deployment", "kind", "replica", postgresql_where=text("ended_as IS NULL")),
)
"""The stages of iterations that were started, each with the task of the engine that runs it. While it has not ended,
the task says whether it runs."""

stage_outputs = Table(
    "stage_outputs",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("problem", Integer, primary_key=True, autoincrement=False),
    Column("iteration", Integer, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("raw_model", LargeBinary),
    Column("failed", Boolean, nullable=False, server_default=text("false")),
)
"""What stages have made, without secrets; a model's bytes lie apart. That of one that `failed` is for diagnosis."""

modules = Table(
    "modules",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("process_id", Text, nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    Column("heard_at", DateTime(timezone=True), nullable=False),
    Column("phase", SmallInteger, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("stopped", Boolean, nullable=False, server_default=text("false")),
    Column("set_aside", Boolean, nullable=False, server_default=text("false")),
    Column("failed", Boolean, nullable=False, server_default=text("false")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("restarting", Boolean, nullable=False, server_default=text("false")),
    Column("suspected_at", DateTime(timezone=True)),
    Column("told", SmallInteger, nullable=False, server_default=text("0")),
    Column("told_at", DateTime(timezone=True), nullable=False),
    Index("modules_heard", "heard_at", postgresql_where=text("told <> 0")),
)
"""The processes that run stages. `stopped` by a command, `set_aside` after too many `failures` in a row, `failed` where
the last attempt did; `suspected_at` is when it was not heard as it should be, unless it was heard since; `told` is the
state that events have told of, since `told_at`."""

module_kinds = Table(
    "module_kinds",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("stopped_at", DateTime(timezone=True)),
)
"""Since when all modules of a kind are stopped, those too that come later."""

module_commands = Table(
    "module_commands",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("deployment", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("accepted_at", DateTime(timezone=True), nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Index("module_commands_page", "deployment", "accepted_at", "id"),
)
"""The commands that were given, for ever."""

module_command_targets = Table(
    "module_command_targets",
    metadata,
    Column("command", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("deployment", Text, nullable=False),
    Column("kind", SmallInteger),
    Column("name", Text),
    Column("accepted_at", DateTime(timezone=True), nullable=False),
    Column("plans", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("process_id", Text),
    Column("state", SmallInteger, nullable=False),
    Column("delivered_at", DateTime(timezone=True)),
    Column("at", DateTime(timezone=True)),
    Column("error", Text, nullable=False, server_default=""),
    Index("module_command_targets_open", "deployment", "kind", postgresql_where=text("state = 0")),
)
"""What became of a command at each module that it is for: without a `name` the first of its kind that comes, without a
`kind` the orchestrator, where attempts of `plans` are to stop. `process_id` is the one that it was delivered to."""

configuration_requests = Table(
    "configuration_requests",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("transaction_id", Integer, primary_key=True, autoincrement=False),
    Column("first_id", Integer, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("replica", Text),
    Column("taken_by", Text),
    Column("configuration", LargeBinary, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("deadline_at", DateTime(timezone=True), nullable=False),
    Column("answered_at", DateTime(timezone=True)),
    Column("answer", LargeBinary),
    Index("configuration_requests_open", "deployment", "kind", postgresql_where=text("answered_at IS NULL")),
    Index("configuration_requests_first", "deployment", "first_id"),
    Index("configuration_requests_asked", "deadline_at"),
)
"""Questions to modules and their answers, for some time; `replica` is whom one is for, where it is one alone,
`first_id` the first of those that were asked together."""

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

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default=text("0")),
    Column("key", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("claimed_at", DateTime(timezone=True)),
    Column("traceparent", Text),
    Index(
        "outbox_out",
        "queue",
        "sent_at",
        postgresql_where=text("message = 'task.run' AND claimed_at IS NULL AND sent_at IS NOT NULL"),
    ),
    Index("outbox_unsent", "queue", text("priority DESC"), "id", postgresql_where=text("sent_at IS NULL")),
    Index("outbox_key", "key"),
)
"""Pokes to send: a `message` of `core.pokes`, or `purge` (empty the queue); when each was handed to the broker, and
when the attempt was claimed that it announced; `traceparent` is of the call that wrote it, then of its claim, where
that was traced."""
