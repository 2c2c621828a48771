"""The tables of the product of problems: deployments, iterations, stages, modules, what these are told and asked."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
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

from orchestrator.store.trace_tables import metadata

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
