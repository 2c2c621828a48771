"""Traces of executions and of problems: from the request of a front end to what is done for it elsewhere."""

import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest

from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from orchestrator.telemetry import names
from tests.kit.argo import Refusal
from tests.kit.collector import Collector, Exported, collecting
from tests.kit.installation import CENTRAL, Installation
from tests.kit.modules import Modules
from tests.kit.temporary import passable
from tests.kit.waiting import wait_until

SERVER, RUNTIME, MODULE = "orchestrator-server", "orchestrator-runtime", "orchestrator-module"
TRACE, CALLER = "5b8aa5a2d2c872e8321cf37308d69df2", "051581bf3cb55c13"
AS_A_CALLER_THAT_IS_TRACED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
RUNTIMES, MODULES = f"executions.{CENTRAL}", "module.domain-0.hw_constraints"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """One whose spans are of this module's processes alone, which it has all of them export to."""
    with collecting() as collector, pytest.MonkeyPatch.context() as environment:
        for name, value in collector.environment.items():
            environment.setenv(name, value)
        yield collector


def found(collector: Collector, like: Callable[[Exported], bool], what: str) -> Exported:
    return wait_until(lambda: next(filter(like, collector.spans), None), 60, f"a span: {what}")


def within(collector: Collector, of: Exported, name: str, kind: str) -> Exported:
    def like(span: Exported) -> bool:
        return (span.trace, span.parent, span.name, span.kind) == (of.trace, of.id, name, kind)

    return found(collector, like, f"{kind} {name} within {of.name} of {of.service}")


def asked(collector: Collector, route: str) -> Exported:
    """Return the server's span of the request of the caller that is traced."""
    return found(
        collector, lambda span: (span.parent, span.name, span.service) == (CALLER, f"POST {route}", SERVER), route
    )


def processed(collector: Collector, of: Exported, queue: str, service: str) -> Exported:
    """Return the span of the poke that was written for a request."""
    sent = within(collector, of, f"send {queue}", "PRODUCER")
    span = within(collector, sent, f"process {queue}", "CONSUMER")
    assert span.service == service
    assert span.attributes[names.TASK] == sent.attributes[names.TASK]
    return span


def called(collector: Collector, of: Exported, method: str) -> Exported:
    client = within(collector, of, f"orchestrator.{method}", "CLIENT")
    return within(collector, client, f"orchestrator.{method}", "SERVER")


def assert_discreet(collector: Collector, *secrets: str) -> None:
    """Check that spans tell what their names say, and that what comes again and again has none."""
    known = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    told = [(name, str(value)) for span in collector.spans for name, value in span.attributes.items()]
    assert {name for name, _ in told} <= known
    ways = [value for name, value in told if name not in (names.RPC_METHOD, names.HTTP_ROUTE)]
    assert not [value for value in ways if "/" in value or any(secret in value for secret in secrets)]
    assert not {span.name for span in collector.spans} & names.PERIODIC


@pytest.fixture(scope="module")
def installation(
    collector: Collector, postgres: Postgres, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    database = postgres.create_database(f"traced_{uuid.uuid4().hex}")
    # No execution here is federated, so that nobody asks for Kafka.
    with Installation(tmp_path_factory.mktemp("traced"), database, valkey.url, "127.0.0.1:9") as installation:
        installation.portal.http.headers.update(AS_A_CALLER_THAT_IS_TRACED)
        with installation.runtime("traced"):
            yield installation


def test_one_trace_leads_from_a_portals_request_to_the_workflow(
    installation: Installation, collector: Collector
) -> None:
    execution = installation.started()
    installation.await_workflow(execution)
    request = asked(collector, "/api/executions/")
    assert request.trace == TRACE
    ran = processed(collector, request, RUNTIMES, RUNTIME)
    called(collector, ran, "WorkerService/ClaimTask")
    placed = within(collector, ran, "POST", "CLIENT")
    assert placed.attributes == {
        names.HTTP_METHOD: "POST",
        names.SERVER_ADDRESS: "127.0.0.1",
        names.SERVER_PORT: installation.argo.port,
        names.HTTP_STATUS: 200,
    }
    (created,) = [each for each in installation.argo.created() if placed.id in each.headers["traceparent"]]
    assert created.headers["traceparent"] == f"00-{TRACE}-{placed.id}-01"
    called(collector, ran, "WorkerService/CompleteTask")
    assert not ran.failed
    assert_discreet(collector, installation.database)


def test_a_workflow_that_is_refused_is_a_span_that_failed(installation: Installation, collector: Collector) -> None:
    installation.argo.refusal = Refusal(403, "workflows are not for you", methods=("POST",))
    try:
        installation.await_state(installation.started(), "failed")
    finally:
        installation.argo.refusal = None
    refused = found(collector, lambda span: span.attributes.get(names.HTTP_STATUS) == 403, "what Argo refused")
    ran = found(collector, lambda span: span.id == refused.parent, "the step")
    assert refused.failed
    assert (ran.failed, ran.attributes[names.ERROR_TYPE]) == (True, "ERROR_TYPE_EXECUTION")
    called(collector, ran, "WorkerService/FailTask")


@pytest.fixture(scope="module")
def modules(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    with Modules(passable(tmp_path_factory.mktemp("problems"))) as modules:
        modules.started("HW_CONSTRAINTS")
        yield modules


def submit(modules: Modules) -> None:
    answer = httpx.post(
        f"{modules.federation.running.problems['address']}/user_input",
        json={"problem_short_description": "a secret of the user"},
        headers=AS_A_CALLER_THAT_IS_TRACED,
        timeout=30,
    )
    assert answer.status_code == 200, answer.text


def test_one_trace_leads_from_a_front_ends_request_to_the_callback(modules: Modules, collector: Collector) -> None:
    submit(modules)
    request = asked(collector, "/user_input")
    assert request.trace == TRACE
    assert request.attributes[names.HTTP_STATUS] == 200
    ran = processed(collector, request, MODULES, MODULE)
    called(collector, ran, "WorkerService/ClaimTask")
    within(collector, ran, "prepare_inputs", "INTERNAL")
    within(collector, ran, "callback", "INTERNAL")
    called(collector, ran, "ModuleService/CompleteStage")
    assert not ran.failed
    assert_discreet(collector, "a secret of the user")


def test_a_callback_that_raises_is_a_span_that_failed(modules: Modules, collector: Collector) -> None:
    before = {span.id for span in collector.spans}
    modules.say("HW_CONSTRAINTS", "raise:a secret of the callback")
    submit(modules)
    ran = found(
        collector,
        lambda span: span.id not in before and span.name == f"process {MODULES}" and span.failed,
        "the stage that failed",
    )
    assert ran.attributes[names.ERROR_TYPE] == "STAGE_ERROR_EXCEPTION"
    assert_discreet(collector, "a secret of the callback")
