"""Requests of all kinds to a server, made up from its OpenAPI document."""

from collections.abc import Mapping, Sequence
from typing import Any

import schemathesis
from schemathesis.config import HealthCheck
from schemathesis.engine import Status, events, from_schema

CHECKS = ("not_a_server_error", "response_schema_conformance", "status_code_conformance")
MAY_BE_LATE = CHECKS[1:]
"""For operations that others must answer in time: that nobody did is in the document, as no other fault is."""


def fuzzed(document: Mapping[str, Any], url: str, examples: int = 6, checks: Sequence[str] = CHECKS) -> None:
    """Send what a document allows and what it does not, to every operation; check that the answers are as it says.

    What is sent is made up here, rather than while tests are collected: each process of the tests collects them all.

    Args:
        document: of OpenAPI.
        url: of the server.
        examples: how many random requests for each operation, besides those that cover its every rule.
        checks: what is looked at in each answer.

    Raises:
        AssertionError: some answer was not as the document says; which, and how to send the request again.
    """
    schema = schemathesis.openapi.from_dict(dict(document))
    schema.config.update(base_url=url, workers=1, request_timeout=30, suppress_health_check=[HealthCheck.all])
    schema.config.generation.update(max_examples=examples, database="none")
    # It would keep what it has seen in the folder where the tests run.
    schema.config.cache.enabled = False
    schema.config.phases.update(phases=["examples", "coverage", "fuzzing"])
    schema.config.checks.update(included_check_names=list(checks))
    failed: list[str] = []
    tried: set[str | None] = set()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished(status=Status.FAILURE, recorder=recorder):
                failed += [
                    f"{recorder.label}: {check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
                    for checks in recorder.checks.values()
                    for check in checks
                    if check.failure_info
                ]
            case events.ScenarioFinished(label=label):
                tried.add(label)
            case events.NonFatalError(value=error, label=label):
                failed.append(f"{label}: {error}")
            case events.FatalError(exception=error):
                raise error
    assert not failed, "\n\n".join(failed)
    assert tried >= {operation.ok().label for operation in schema.get_all_operations()}
