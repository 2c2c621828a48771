"""The form of a new schema."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator import protos as pb
from orchestrator.executions.errors import FieldsError
from orchestrator.executions.files import uploads
from orchestrator.executions.files.uploads import Upload, Uploads
from orchestrator.executions.forms.form import Field, InvalidError, boolean, choice, form, objects, rule, text, values
from orchestrator.executions.templates import parameters

TYPES = ("individual", "joint")
IMPLEMENTATIONS = ("argo_workflows", "dummy", "tasks")
FILE = "auxiliary_file"

_LONGEST_NAME = 100
_TAKEN = "schema with this name already exists."


@dataclass(frozen=True)
class NewSchema:
    """A schema as it was asked for.

    Args:
        message: without the file and the date.
        file: its template.
    """

    message: pb.WorkflowSchema
    file: Upload


def read(data: Any, given: Uploads, functionalities: Sequence[str], is_taken: bool) -> NewSchema:
    """Return what was asked for.

    Args:
        data: the object that was sent.
        given: the files that came with it.
        functionalities: those that an engine may have.
        is_taken: whether a schema has the name already.

    Raises:
        FieldsError: something is not what it should be.
    """
    problems: dict[str, Any] = {}
    found: Mapping[str, Any] = {}
    try:
        found = _form(functionalities)(data)
    except InvalidError as invalid:
        if not isinstance(data, dict):
            raise FieldsError(invalid.problem) from invalid
        problems.update(invalid.problem)
    if is_taken and "name" not in problems:
        problems["name"] = [_TAKEN]
    try:
        file = uploads.required(given, data, FILE)
    except InvalidError as invalid:
        raise FieldsError({**problems, FILE: invalid.problem}) from invalid
    if problems:
        raise FieldsError(problems)
    return NewSchema(_message(found), file)


def taken() -> FieldsError:
    """Return that another call has taken the name meanwhile."""
    return FieldsError({"name": [_TAKEN]})


def name_of(data: Any) -> str:
    """Return the name that is asked for, as it would be kept; empty where it is none."""
    try:
        return str(text(_LONGEST_NAME)(data.get("name"))) if isinstance(data, dict) else ""
    except InvalidError:
        return ""


def problem_of_name(name: str) -> str:
    """Return what is wrong with a name that a schema has elsewhere, empty where it may have it here."""
    try:
        return "" if _name(name) == name else "It begins or ends with a space."
    except InvalidError as invalid:
        return str(invalid.problem[0] if isinstance(invalid.problem, list) else invalid.problem)


def _form(functionalities: Sequence[str]) -> Any:
    engine = form(
        {
            "descriptor": Field(_descriptor),
            "role_type": Field(text(50)),
            "functionalities": Field(values(choice(functionalities))),
            "ai_model": Field(boolean),
        }
    )
    return form(
        {
            "name": Field(_name),
            "type": Field(choice(TYPES)),
            "implementation": Field(choice(IMPLEMENTATIONS)),
            "description": Field(text()),
            "input_elements": Field(
                form(
                    {
                        "platform_data": Field(boolean),
                        "external_data": Field(boolean),
                        "federated_learning_configuration": Field(boolean),
                        "report_metadata": Field(boolean, required=False, default=False),
                    }
                )
            ),
            "ai_elements": Field(form({"ai_engines": Field(_engines(objects(engine)))})),
            "output_elements": Field(
                form(
                    {
                        "ai_model": Field(boolean),
                        "evaluation_metrics": Field(boolean),
                        "generic_file": Field(boolean),
                    }
                )
            ),
        }
    )


def _engines(read_all: Any) -> Any:
    def read_engines(value: Any) -> list[dict[str, Any]]:
        engines: list[dict[str, Any]] = read_all(value)
        if not engines:
            raise rule("This list may not be empty.")
        owners: dict[str, str] = {}
        problems: list[dict[str, list[str]]] = []
        for engine in engines:
            descriptor = engine["descriptor"]
            names = parameters.of_descriptor(descriptor)
            shared = next((name for name in names if name in owners), None)
            problems.append({} if shared is None else {"descriptor": [_shared(descriptor, owners[shared], shared)]})
            owners.update(dict.fromkeys(names, descriptor))
        if any(problems):
            raise InvalidError(problems)
        return engines

    return read_engines


def _shared(descriptor: str, other: str, parameter: str) -> str:
    """Return what is said of an engine that has a parameter of another."""
    if descriptor == other:
        return "Another AI Engine has this descriptor."
    return f'The AI Engine "{other}" has the parameter {parameter}, too.'


def _name(value: Any) -> str:
    name: str = text(_LONGEST_NAME)(value)
    # A segment of paths, which clients and proxies take apart at these.
    if any(character in "/." for character in name) or _has_control(name):
        raise InvalidError(["A name has no '/', no '.' and no control characters."])
    return name


def _descriptor(value: Any) -> str:
    descriptor: str = text(_LONGEST_NAME)(value)
    if any(character in "/\\" for character in descriptor) or _has_control(descriptor):
        raise InvalidError(["A descriptor has no '/', no '\\' and no control characters."])
    return descriptor


def _has_control(name: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in name)


def _message(found: Mapping[str, Any]) -> pb.WorkflowSchema:
    takes, makes = found["input_elements"], found["output_elements"]
    return pb.WorkflowSchema(
        name=found["name"],
        type=found["type"],
        implementation=found["implementation"],
        description=found["description"],
        platform_data=takes["platform_data"],
        external_data=takes["external_data"],
        report_metadata=takes["report_metadata"],
        federated_learning_configuration=takes["federated_learning_configuration"],
        engines=[
            pb.SchemaEngine(
                descriptor_name=engine["descriptor"],
                role_type=engine["role_type"],
                functionalities=engine["functionalities"],
                ai_model=engine["ai_model"],
            )
            for engine in found["ai_elements"]["ai_engines"]
        ],
        output_ai_model=makes["ai_model"],
        output_evaluation_metrics=makes["evaluation_metrics"],
        output_generic_file=makes["generic_file"],
    )
