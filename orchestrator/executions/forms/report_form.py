"""The forms of what pods report: a failure, a success."""

from collections.abc import Mapping
from typing import Any

from orchestrator import protos as pb
from orchestrator.executions.errors import FieldsError
from orchestrator.executions.forms.execution_form import MOST
from orchestrator.executions.forms.form import UNSET, Field, InvalidError, form, integer, rule, text, values


def results(data: Any, schema: pb.WorkflowSchema) -> pb.ExecutionResults:
    """Return what a success reports.

    Args:
        data: the object that was sent.
        schema: of the execution.

    Raises:
        FieldsError: it is not what the schema makes.
    """

    def one(name: str) -> Any:
        return form({name: Field(integer(0, MOST))})

    fields = form(
        {
            "ai_model": Field(one("ai_model"), required=False),
            "evaluation_metrics": Field(values(one("evaluation_metric")), required=False),
            "generic_file": Field(one("generic_file"), required=False),
        }
    )
    try:
        found = fields(data)
        for name, makes, noun in (
            ("ai_model", schema.output_ai_model, "an AI Model"),
            ("evaluation_metrics", schema.output_evaluation_metrics, "a list of Evaluation Metrics"),
            ("generic_file", schema.output_generic_file, "a Generic File"),
        ):
            given = found[name] is not UNSET
            if makes and not given:
                raise rule(f'schema "{schema.name}" should produce {noun}')
            if given and not makes:
                raise rule(f'schema "{schema.name}" does not produce {noun}')
    except InvalidError as invalid:
        raise FieldsError(invalid.problem) from invalid
    made: pb.ExecutionResults = pb.ExecutionResults()
    if schema.output_ai_model:
        made.ai_model = found["ai_model"]["ai_model"]
    if schema.output_evaluation_metrics:
        made.evaluation_metrics.extend(each["evaluation_metric"] for each in found["evaluation_metrics"])
    if schema.output_generic_file:
        made.generic_file = found["generic_file"]["generic_file"]
    return made


def failure(data: Any) -> str:
    """Return the message of a failure that is reported.

    Raises:
        FieldsError: it is missing, or no text.
    """
    try:
        found: Mapping[str, str] = form({"message": Field(text())})(data)
    except InvalidError as invalid:
        raise FieldsError(invalid.problem) from invalid
    return found["message"]
