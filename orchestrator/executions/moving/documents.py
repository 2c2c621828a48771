"""What the other service shows of a schema or an execution, as what is kept here."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import unquote

from orchestrator import protos as pb
from orchestrator.executions import states
from orchestrator.executions.forms import schema_form
from orchestrator.executions.moving.source import UnreadableError

Value = TypeVar("Value")

_ID = re.compile(r"/(\d{1,18})/?$")
_STATES = {word: state for state, word in states.WORDS.items()}
_MOST = 2**63 - 1


def schema(shown: Mapping[str, Any]) -> pb.WorkflowSchema:
    """Return a schema, without its file.

    Raises:
        UnreadableError: something is missing, or cannot be here.
    """
    name = _text(shown, "name")
    if problem := schema_form.problem_of_name(name):
        raise UnreadableError(f"its name cannot be here: {problem}")
    takes, makes = _of(shown, "input_elements", dict), _of(shown, "output_elements", dict)
    found = pb.WorkflowSchema(
        name=name,
        type=_text(shown, "type"),
        implementation=_text(shown, "implementation"),
        description=_text(shown, "description"),
        platform_data=_of(takes, "platform_data", bool),
        external_data=_of(takes, "external_data", bool),
        report_metadata=bool(takes.get("report_metadata")),
        federated_learning_configuration=_of(takes, "federated_learning_configuration", bool),
        engines=[_schema_engine(each) for each in _of(_of(shown, "ai_elements", dict), "ai_engines", list)],
        output_ai_model=_of(makes, "ai_model", bool),
        output_evaluation_metrics=_of(makes, "evaluation_metrics", bool),
        output_generic_file=_of(makes, "generic_file", bool),
    )
    found.created_at.FromDatetime(_time(shown, "created_at"))
    return found


def _schema_engine(shown: Any) -> pb.SchemaEngine:
    return pb.SchemaEngine(
        descriptor_name=_text(shown, "descriptor"),
        role_type=_text(shown, "role_type"),
        functionalities=[str(each) for each in _of(shown, "functionalities", list)],
        ai_model=_of(shown, "ai_model", bool),
    )


def execution(shown: Mapping[str, Any]) -> pb.Execution:
    """Return an execution, without its files and what its data partners were sent.

    Raises:
        UnreadableError: something is missing, or cannot be here.
    """
    id_ = _of(shown, "id", int)
    if not 0 < id_ <= _MOST:
        raise UnreadableError(f"its id {id_} cannot be here")
    state = _of(shown, "state", dict)
    status = _STATES.get(_text(state, "status"))
    if status is None:
        raise UnreadableError(f"its state {state['status']!r} is none that is known")
    takes = _of(shown, "input_elements", dict)
    message = state.get("message") or ""
    if message:
        message = _text(state, "message")
    federated = takes.get("federated_learning_configuration") or {}
    found = pb.Execution(
        id=id_,
        schema=unquote(_text(shown, "schema").rstrip("/").rpartition("/")[2]),
        status=status,
        message=message,
        number_iterations=_number(federated, "number_iterations") if federated else 0,
        engines=[_engine(each) for each in _of(_of(shown, "ai_elements", dict), "ai_engines", list)],
    )
    found.created_at.FromDatetime(_time(shown, "created_at"))
    found.updated_at.FromDatetime(_time(shown, "updated_at"))
    makes = _of(shown, "output_elements", dict)
    if status == states.SUCCEEDED:
        found.results.CopyFrom(_results(makes))
    elif makes.get("ai_model"):
        found.output_model.CopyFrom(_output_model(makes["ai_model"]))
    return found


def partners(shown: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of an execution's data partners."""
    platform = _of(shown, "input_elements", dict).get("platform_data")
    names = list(_of(platform, "data_partners_patients", dict)) if platform else []
    for name in names:
        check_text(name, "the name of a data partner")
    return names


def partner(name: str, patients: Any, document: Mapping[str, Any]) -> pb.PartnerPatients:
    """Return what is kept with an execution of a data partner.

    Args:
        name: of the partner.
        patients: the ids that the execution shows.
        document: what was sent for it.
    """
    if not isinstance(patients, list):
        raise UnreadableError(f"its patients of {name} are no list")
    path = document.get("system_path")
    return pb.PartnerPatients(
        name=name,
        patients=[json.dumps(each) for each in patients],
        system_path=path if isinstance(path, str) else json.dumps(path, ensure_ascii=False),
    )


def check_document(document: Mapping[str, Any]) -> None:
    """Check that what was sent for a data partner can be kept.

    Raises:
        UnreadableError: it cannot.
    """
    try:
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise UnreadableError("it has characters or numbers that cannot be kept") from error


def patients(shown: Mapping[str, Any], name: str) -> Any:
    """Return the ids of an execution's patients at a data partner."""
    return shown["input_elements"]["platform_data"]["data_partners_patients"][name]


def _engine(shown: Any) -> pb.ExecutionEngine:
    model = shown.get("ai_model") if isinstance(shown, Mapping) else None
    return pb.ExecutionEngine(
        descriptor_name=_text(shown, "descriptor"),
        version=_id(_text(shown, "version")),
        ai_model=None if model is None else _id(model),
    )


def _output_model(shown: Any) -> pb.OutputModel:
    return pb.OutputModel(
        name=_text(shown, "name"), description=_text(shown, "description"), merge_type=shown.get("merge_type")
    )


def _results(shown: Mapping[str, Any]) -> pb.ExecutionResults:
    found = pb.ExecutionResults()
    if shown.get("ai_model"):
        found.ai_model = _id(_text(shown["ai_model"], "ai_model"))
    found.evaluation_metrics.extend(
        _id(_text(each, "evaluation_metric")) for each in shown.get("evaluation_metrics") or ()
    )
    if shown.get("generic_file"):
        found.generic_file = _id(_text(shown["generic_file"], "generic_file"))
    return found


def _id(url: Any) -> int:
    """Return the id in MaaS that an URL ends with; wherever that was, it is here by our own setting."""
    found = _ID.search(url) if isinstance(url, str) else None
    if found is None:
        raise UnreadableError(f"{url!r} does not end with an id")
    return int(found[1])


def _of(shown: Any, name: str, kind: type[Value]) -> Value:
    value = shown.get(name) if isinstance(shown, Mapping) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UnreadableError(f"its {name} is missing or no {kind.__name__}")
    return value


def _text(shown: Any, name: str) -> str:
    text = _of(shown, name, str)
    check_text(text, f"its {name}")
    return text


def check_text(text: str, what: str) -> None:
    """Check that a text can be kept: Postgres keeps no NUL, and half of a pair is no character.

    Raises:
        UnreadableError: it cannot.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise UnreadableError(f"{what} has characters that cannot be kept")


def _number(shown: Any, name: str) -> int:
    number = _of(shown, name, int)
    if not 0 <= number < 2**31:
        raise UnreadableError(f"its {name} {number} cannot be here")
    return number


def _time(shown: Mapping[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_of(shown, name, str))
    except ValueError as error:
        raise UnreadableError(f"its {name} is no time: {error}") from error
    if moment.tzinfo is None:
        raise UnreadableError(f"its {name} does not say its zone")
    return moment.astimezone(UTC)
