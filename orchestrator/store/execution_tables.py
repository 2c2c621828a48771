"""The tables of the product of executions: schemas, executions, and what runs them."""

from sqlalchemy import (
    BigInteger,
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

from orchestrator.store.trace_tables import metadata

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
