"""Outputs: what stages have made, written once in each run, without secrets."""

from collections.abc import Collection, Sequence
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, secrets, settings, stages
from orchestrator.problems.inputs import extra_of
from orchestrator.store.statements import statement

_INSERT = statement("""
    INSERT INTO stage_outputs (deployment, problem, iteration, kind, run, created_at, message, raw_model, failed)
    VALUES (:deployment, :problem, :iteration, :kind, :run, :now, :message, :raw_model, :failed)
    ON CONFLICT (deployment, problem, iteration, kind, run)
    DO UPDATE SET created_at = excluded.created_at, message = excluded.message, raw_model = excluded.raw_model,
                  failed = excluded.failed
    WHERE stage_outputs.failed
""")


def insert(
    transaction: Transaction, stage: pb.StageTask, output: Message, own: secrets.Secrets, *, failed: bool = False
) -> None:
    """Keep what a stage has made.

    Args:
        transaction: in which it ends.
        stage: which.
        output: of the type of its kind.
        own: the secrets of its user.
        failed: whether it is kept for diagnosis alone.
    """
    kept: Any = type(output)()
    kept.CopyFrom(output)
    kept.task_id.CopyFrom(stage.task_id)
    raw = getattr(kept, "raw_model", b"")
    if raw:
        kept.ClearField("raw_model")
    secrets.hide(kept, own)
    transaction.connection.execute(
        _INSERT,
        {
            **stages.of(stage.deployment, stage.task_id),
            "kind": stage.kind,
            "run": stage.run,
            "now": transaction.now,
            "message": kept.SerializeToString(),
            "raw_model": raw or None,
            "failed": failed,
        },
    )


# The output of the run that the stage has now; one that was set aside does not count.
_SUCCEEDED = "ended_as = 3 AND NOT stage_outputs.failed"
_GET = """
    SELECT stage_outputs.kind, message, $RAW AS raw_model, octet_length(raw_model) AS raw_size
    FROM stages JOIN stage_outputs USING (deployment, problem, iteration, kind, run)
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration
      AND stage_outputs.kind = ANY(CAST(:kinds AS smallint[])) AND $WHICH
"""
_WITH_RAW = statement(_GET, RAW="raw_model", WHICH=_SUCCEEDED)
_WITHOUT_RAW = statement(_GET, RAW="CAST(NULL AS bytea)", WHICH=_SUCCEEDED)
_DIAGNOSIS = statement(_GET, RAW="CAST(NULL AS bytea)", WHICH="stage_outputs.failed")


def of_kinds(
    transaction: Transaction, deployment: str, task_id: pb.TaskId, kinds: Collection[int], *, raw: bool = False
) -> dict[int, Message]:
    """Return the outputs of an iteration that are there, by kind.

    Args:
        transaction: of the caller.
        deployment: whose.
        task_id: the iteration.
        kinds: which.
        raw: whether a model comes with its bytes.
    """
    parameters = {**stages.of(deployment, task_id), "kinds": list(kinds)}
    found: dict[int, Message] = {}
    for row in transaction.connection.execute(_WITH_RAW if raw else _WITHOUT_RAW, parameters):
        made: Any = graph.output_of(row.kind).FromString(row.message)
        if row.raw_model is not None:
            made.raw_model = row.raw_model
        found[row.kind] = made
    return found


def get(transaction: Transaction, deployment: str, task_id: pb.TaskId, kind: int) -> Message | None:
    """Return the output of a stage without its `raw_model`, None where it is not there."""
    return of_kinds(transaction, deployment, task_id, [kind]).get(kind)


_OF_RUN = statement("""
    SELECT message FROM stage_outputs
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration AND kind = :kind AND run = :run
      AND NOT failed
""")


def of_run(transaction: Transaction, deployment: str, task_id: pb.TaskId, kind: int, run: int) -> Message | None:
    """Return what a stage has made in a run without its `raw_model`, even if that was set aside; None without it."""
    parameters = {**stages.of(deployment, task_id), "kind": kind, "run": run}
    row = transaction.connection.execute(_OF_RUN, parameters).one_or_none()
    return None if row is None else graph.output_of(kind).FromString(row.message)


def diagnosis(transaction: Transaction, deployment: str, task_id: pb.TaskId, kind: int) -> Message | None:
    """Return what a stage had written that failed, None where nothing was kept."""
    parameters = {**stages.of(deployment, task_id), "kinds": [kind]}
    row = transaction.connection.execute(_DIAGNOSIS, parameters).one_or_none()
    return None if row is None else graph.output_of(kind).FromString(row.message)


def raw_model(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> bytes | None:
    """Return the bytes of the model of an iteration, None where there is none."""
    for output in of_kinds(transaction, deployment, task_id, list(graph.KINDS), raw=True).values():
        if isinstance(output, pb.MLModel):
            return output.raw_model
    return None


def raw_model_size(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> int:
    """Return how many bytes the model of an iteration has, 0 where there is none."""
    parameters = {**stages.of(deployment, task_id), "kinds": list(graph.KINDS)}
    rows = transaction.connection.execute(_WITHOUT_RAW, parameters).all()
    return max((row.raw_size or 0 for row in rows), default=0)


def read(kind: int, data: bytes) -> Message | pb.StageError:
    """Return what a module has sent as its output, or why it does not fit: the text names the member."""
    type_, name = graph.output_of(kind), graph.KINDS[kind].name
    most = settings.current().problems_largest_output
    if len(data) > most:
        member = _largest(type_, data)
        return _invalid(f"{name}: the output takes {len(data)} bytes, most of them {member}; at most {most} are kept")
    try:
        return type_.FromString(data)
    except DecodeError:
        return _invalid(f"{name}: {_misfit(type_, data)}")


def _invalid(message: str) -> pb.StageError:
    return pb.StageError(code=pb.STAGE_ERROR_INVALID_OUTPUT, message=message)


def _fields(data: bytes) -> Sequence[Any]:
    """Return the fields of a message as they came; one without fields keeps all that it is given."""
    found: Any = UnknownFieldSet(pb.ReleaseTaskResponse.FromString(data))
    return list(found)


def _largest(type_: type[Message], data: bytes) -> str:
    try:
        fields = _fields(data)
    except DecodeError:
        return "no member that is known"
    sizes: dict[int, int] = {}
    for field in fields:
        if isinstance(field.data, bytes):
            sizes[field.field_number] = sizes.get(field.field_number, 0) + len(field.data)
    known = {field.number: field.name for field in type_.DESCRIPTOR.fields}
    return known.get(max(sizes, key=lambda number: sizes[number], default=0), "no member that is known")


def _misfit(type_: type[Message], data: bytes) -> str:
    try:
        fields = _fields(data)
    except DecodeError:
        return "the output is no message"
    known = {field.number: field for field in type_.DESCRIPTOR.fields}
    for each in fields:
        field = known.get(each.field_number)
        if field is not None and field.type == field.TYPE_STRING and isinstance(each.data, bytes):
            try:
                each.data.decode()
            except UnicodeDecodeError:
                return f"{field.name}: a text is expected, and it is not valid UTF-8"
        if field is not None and field.message_type is not None and isinstance(each.data, bytes):
            try:
                pb.TaskId.FromString(each.data)
            except DecodeError:
                return f"{field.name}: a task id is expected"
    return "the output is no message of its type"


_MODELS = ("Error", "NO_MODEL")
_MODES = ("error", "no_model")


def warning(output: Message) -> str:
    """Return what an output says of itself that went wrong, empty where it says nothing."""
    extra = extra_of(getattr(output, "extra_data", b""))
    error = extra.get("error")
    if error:
        return error if isinstance(error, str) else str(error)
    if isinstance(output, pb.MLModel) and output.model in _MODELS:
        return f"the model is {output.model}"
    if isinstance(output, pb.HWResource) and output.hw_description == "Error":
        return "the hardware is Error"
    if extra.get("mode") in _MODES:
        return f"the mode is {extra['mode']}"
    return ""


def error_of(output: Message | None) -> str:
    """Return the text of an error that an output bears, empty without one."""
    extra = extra_of(getattr(output, "extra_data", b"")) if output is not None else {}
    error = extra.get("error")
    return "" if not error else str(error)
