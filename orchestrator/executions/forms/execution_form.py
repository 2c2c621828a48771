"""The form of a new execution: what its schema says that it takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from orchestrator import protos as pb
from orchestrator.executions.errors import FieldsError, WholeError
from orchestrator.executions.files import uploads
from orchestrator.executions.files.uploads import Upload, Uploads
from orchestrator.executions.forms import partners
from orchestrator.executions.forms.form import UNSET, Field, InvalidError, form, integer, objects, rule, text

EXTERNAL_DATA, REPORT_METADATA = "external_data", "report_metadata"

MOST = 2**31 - 1
"""The largest id in MaaS, and the most iterations."""


@dataclass(frozen=True)
class NewExecution:
    """An execution as it was asked for.

    Args:
        message: without its id, its dates and its files.
        partners: data partner -> what was sent for it, as it was.
        external_data: the file of that name, None where it takes none.
        report_metadata: the same.
        user_vars: descriptor of an engine -> its file.
    """

    message: pb.Execution
    partners: Mapping[str, Any] = field(default_factory=dict)
    external_data: Upload | None = None
    report_metadata: Upload | None = None
    user_vars: Mapping[str, Upload] = field(default_factory=dict)


def schema_of(data: Any) -> str:
    """Return the name of the schema that is asked for.

    Raises:
        WholeError: none is.
    """
    if not isinstance(data, dict) or "schema" not in data:
        raise WholeError('"schema" not provided')
    name = data["schema"]
    if not isinstance(name, str):
        raise unknown(name)
    return name


def unknown(name: Any) -> WholeError:
    """Return that there is no such schema."""
    return WholeError(f'"{name}" does not exist')


Ask: TypeAlias = Callable[[int, int | None], pb.EngineValues]
"""From a version of an engine and the model that it is given to what a workflow is told of it; raises InvalidError."""


def read(data: Any, given: Uploads, schema: pb.WorkflowSchema, valid_partners: Sequence[str], ask: Ask) -> NewExecution:
    """Return what was asked for.

    Args:
        data: the object that was sent.
        given: the files that came with it.
        schema: that it names.
        valid_partners: the data partners that there are.
        ask: what there is to know of an engine.

    Raises:
        FieldsError: something is not what the schema asks for.
    """
    files: dict[str, Upload] = {}
    fields = form(
        {
            "input_elements": Field(_input_elements(schema, given, files, valid_partners)),
            "ai_elements": Field(_ai_elements(schema, given, files, ask)),
            "output_elements": Field(_output_elements(schema)),
        }
    )
    try:
        found = fields(data)
    except InvalidError as invalid:
        raise FieldsError(invalid.problem) from invalid
    taken, made = found["input_elements"], found["output_elements"]["ai_model"]
    platform = taken["platform_data"]
    sent = {} if platform is UNSET else platform["data_partners_patients"]
    federated = taken["federated_learning_configuration"]
    engines = found["ai_elements"]["ai_engines"]
    message = pb.Execution(
        schema=schema.name,
        partners=partners.messages(sent),
        number_iterations=0 if federated is UNSET else federated["number_iterations"],
        engines=[
            pb.ExecutionEngine(
                descriptor_name=engine["descriptor"],
                version=engine["version"],
                ai_model=None if engine["ai_model"] is UNSET else engine["ai_model"],
                values=engine["values"],
            )
            for engine in engines
        ],
        output_model=None if made is UNSET else _output_model(made),
    )
    return NewExecution(
        message,
        sent,
        files.get(EXTERNAL_DATA),
        files.get(REPORT_METADATA),
        {engine["descriptor"]: files[user_vars(engine["descriptor"])] for engine in engines},
    )


def user_vars(descriptor: str) -> str:
    """Return the name of the part that bears the variables of an engine."""
    return f"{descriptor}_version_user_vars"


def _output_model(made: Mapping[str, Any]) -> pb.OutputModel:
    merge_type = None if made["merge_type"] is UNSET else made["merge_type"]
    return pb.OutputModel(name=made["name"], description=made["description"], merge_type=merge_type)


def _input_elements(
    schema: pb.WorkflowSchema, given: Uploads, files: dict[str, Upload], valid_partners: Sequence[str]
) -> Any:
    read_fields = form(
        {
            "platform_data": Field(
                form({"data_partners_patients": Field(partners.reader(valid_partners))}), required=False
            ),
            "federated_learning_configuration": Field(
                form({"number_iterations": Field(integer(1, MOST))}), required=False
            ),
        }
    )

    def read_input(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = read_fields(value)
        name, platform = schema.name, found["platform_data"]
        if schema.platform_data and platform is UNSET:
            raise rule(f'schema "{name}" requires platform data')
        if not schema.platform_data and platform is not UNSET:
            raise rule(f'schema "{name}" does not require platform data')
        for part, needed in ((EXTERNAL_DATA, schema.external_data), (REPORT_METADATA, schema.report_metadata)):
            if needed:
                files[part] = _needed(given, part)
        federated = found["federated_learning_configuration"] is not UNSET
        if schema.federated_learning_configuration and not federated:
            raise rule(f'schema "{name}" requires a federated learning configuration')
        if federated and not schema.federated_learning_configuration:
            raise rule(f'schema "{name}" does not require a federated learning configuration')
        if schema.platform_data:
            _check_number(len(platform["data_partners_patients"]), federated)
        return found

    return read_input


def _check_number(count: int, federated: bool) -> None:
    words = "The data partners patients must contain"
    if federated and count < 2:
        raise rule(f"{words} more than one element in the federated scenario")
    if not federated and count != 1:
        raise rule(f"{words} only one element outside of the federated scenario")


def _needed(given: Uploads, part: str) -> Upload:
    upload = given.get(part)
    if upload is None:
        raise rule(f"the request should include a file with key {part}")
    try:
        uploads.check(upload)
    except InvalidError as invalid:
        problem = invalid.problem
        raise rule(str(problem[0]) if isinstance(problem, list) else str(problem)) from invalid
    return upload


def _ai_elements(schema: pb.WorkflowSchema, given: Uploads, files: dict[str, Upload], ask: Ask) -> Any:
    of_schema = {engine.descriptor_name: engine for engine in schema.engines}
    read_fields = form({"ai_engines": Field(objects(_engine(of_schema, given, files, ask)))})

    def read_elements(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = read_fields(value)
        descriptors = [engine["descriptor"] for engine in found["ai_engines"]]
        if len(set(descriptors)) < len(descriptors):
            raise rule("there are repeated AI Engines")
        missing = next((name for name in of_schema if name not in descriptors), None)
        if missing is not None:
            raise rule(f'"{missing}" ai engine has not been provided')
        return found

    return read_elements


def _engine(of_schema: Mapping[str, pb.SchemaEngine], given: Uploads, files: dict[str, Upload], ask: Ask) -> Any:
    def known(value: Any) -> str:
        descriptor: str = text()(value)
        if descriptor not in of_schema:
            raise InvalidError([f'"{descriptor}" does not appear in schema'])
        return descriptor

    read_fields = form(
        {
            "descriptor": Field(known),
            "version": Field(integer(0, MOST)),
            "ai_model": Field(integer(0, MOST), required=False),
        }
    )

    def read_engine(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = read_fields(value)
        descriptor, has_model = found["descriptor"], found["ai_model"] is not UNSET
        if of_schema[descriptor].ai_model and not has_model:
            raise rule(f'AI Engine "{descriptor}" requires an AI Model')
        if has_model and not of_schema[descriptor].ai_model:
            raise rule(f'AI Engine "{descriptor}" does not require an AI Model')
        part = user_vars(descriptor)
        files[part] = _needed(given, part)
        found["values"] = ask(found["version"], found["ai_model"] if has_model else None)
        return found

    return read_engine


def _output_elements(schema: pb.WorkflowSchema) -> Any:
    model = form(
        {
            "name": Field(_no_placeholder(text(100))),
            "description": Field(_no_placeholder(text())),
            "merge_type": Field(_no_placeholder(text(50)), required=False),
        }
    )
    read_fields = form({"ai_model": Field(model, required=False)})

    def read_output(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = read_fields(value)
        given = found["ai_model"] is not UNSET
        if schema.output_ai_model and not given:
            raise rule(f'schema "{schema.name}" requires an output element AI Model')
        if given and not schema.output_ai_model:
            raise rule(f'schema "{schema.name}" does not require an output element AI Model')
        return found

    return read_output


def _no_placeholder(read_text: Any) -> Any:
    def read_plain(value: Any) -> str:
        plain: str = read_text(value)
        if "{{" in plain:
            raise InvalidError(["'{{' may not stand here: it would be replaced in the workflow."])
        return plain

    return read_plain
