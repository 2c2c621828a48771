"""Traces of real processes, as a collector gets them: who called whom, by outbox and broker, down to the function."""

import json
import os
from collections.abc import Callable, Iterator

import pytest

from orchestrator import protos as pb
from orchestrator.embedded.processes import Process
from orchestrator.telemetry import names, spans
from tests.kit.collector import Collector, Exported
from tests.kit.network import Network
from tests.kit.waiting import wait_until

TELLS = 'outputs["model"].write_text(os.environ["TRACEPARENT"])'
READS_ONE = 'assert inputs["model"].read_text(); ' + TELLS
FAILS = "sys.exit(3)"
AGAIN = {"orchestrator.retry.execution.attempts": "2", "orchestrator.retry.backoff": "0.1"}
SERVER, WORKER, STORE = "orchestrator-server", "orchestrator-worker", "orchestrator-store"


@pytest.fixture
def traced(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process is traced too, as the command line is."""
    for name, value in collector.environment.items():
        monkeypatch.setenv(name, value)
    spans.begin("test")
    try:
        yield
    finally:
        spans.end()


def first(collector: Collector, like: Callable[[Exported], bool], what: str) -> Exported:
    return wait_until(lambda: next(filter(like, collector.spans), None), 30, f"a span: {what}")


def child(collector: Collector, of: Exported, name: str, kind: str, service: str) -> Exported:
    def found() -> Exported | None:
        return next((s for s in collector.children(of) if (s.name, s.kind, s.service) == (name, kind, service)), None)

    return wait_until(found, 30, f"{kind} {name} of {service} within {of.name} of {of.service}")


def called(collector: Collector, of: Exported, method: str) -> Exported:
    """Return the server's span of a call that is made within a span; one whose answer was lost was made again."""
    client = child(collector, of, f"orchestrator.{method}", "CLIENT", of.service)
    return child(collector, client, f"orchestrator.{method}", "SERVER", SERVER)


def processed(collector: Collector, of: Exported, queue: str, task: str) -> Exported:
    """Return the worker's span of the poke that was written in the transaction of a call."""
    sent = child(collector, of, f"send {queue}", "PRODUCER", SERVER)
    assert (sent.attributes[names.TASK], sent.attributes[names.ATTEMPT]) == (task, 1)
    assert sent.attributes[names.MESSAGING_DESTINATION] == queue
    return child(collector, sent, f"process {queue}", "CONSUMER", WORKER)


def model_of(network: Network, task: str) -> str:
    wanted = pb.GetComputeTaskModelsParam(compute_task_key=task)
    (model,) = network.client("org-a").models.GetComputeTaskOutputModels(wanted).models
    return model.key


@pytest.mark.usefixtures("traced")
def test_one_trace_leads_from_the_client_to_the_functions(network: Network, collector: Collector) -> None:
    taken = {"model": pb.FunctionInput(kind=pb.ASSET_MODEL)}
    learning = network.built(network.function(TELLS))
    refining = network.built(network.function(READS_ONE, inputs=taken))
    plan = network.client("org-a").plan("traced")
    parent = plan.task(function=learning, worker="org-a", outputs={"model": ["org-b"]})
    after = plan.task(function=refining, worker="org-b", inputs={"model": parent}, outputs={"model": ()})
    with spans.span("study") as study:
        plan.submit()
    for key in (parent.key, after.key):
        assert network.ended(key).status == pb.STATUS_DONE
    assert study.traceparent is not None
    trace = study.traceparent.split("-")[1]

    sent = first(collector, lambda s: s.kind == "PRODUCER" and s.attributes.get(names.TASK) == parent.key, "the poke")
    assert sent.trace == trace
    registered = first(collector, lambda s: s.id == sent.parent, "the call that wrote the poke")
    assert (registered.service, registered.kind) == (SERVER, "SERVER")
    asked = first(collector, lambda s: s.id == registered.parent, "the client's call")
    assert (asked.service, asked.kind, asked.name) == ("orchestrator-test", "CLIENT", registered.name)

    ran = processed(collector, registered, "org.org-a", parent.key)
    called(collector, ran, "WorkerService/ClaimTask")
    step = child(collector, ran, "execution", "INTERNAL", WORKER)
    file, _ = network.store("org-a").open(f"models/{model_of(network, parent.key)}")
    with file:
        told = file.read().decode()
    assert told == f"00-{trace}-{step.id}-01"
    done = called(collector, ran, "WorkerService/CompleteTask")
    assert done.attributes[names.RPC_METHOD] == "orchestrator.WorkerService/CompleteTask"

    ran_after = processed(collector, done, "org.org-b", after.key)
    fetched = child(collector, ran_after, "prepare_inputs", "INTERNAL", WORKER)
    download = child(collector, fetched, "GET", "CLIENT", WORKER)
    served = child(collector, download, "GET", "SERVER", STORE)
    assert served.attributes == {names.HTTP_METHOD: "GET", names.HTTP_STATUS: 200}
    called(collector, ran_after, "WorkerService/CompleteTask")
    assert {s.trace for s in collector.spans if s.attributes.get(names.TASK) == after.key} == {trace}


def test_a_retry_is_a_trace_with_a_link_to_the_attempt_before(network: Network, collector: Collector) -> None:
    failing = network.built(network.function(FAILS))
    plan = network.client("org-a").plan("again", metadata=AGAIN)
    task = plan.task(function=failing, worker="org-a", outputs={"model": ()})
    plan.submit()
    assert network.ended(task.key).status == pb.STATUS_FAILED

    def attempt(number: int) -> Exported:
        wanted = (task.key, number)
        return first(
            collector,
            lambda s: (
                s.kind == "CONSUMER" and (s.attributes.get(names.TASK), s.attributes.get(names.ATTEMPT)) == wanted
            ),
            f"attempt {number}",
        )

    one, two = attempt(1), attempt(2)
    assert one.failed
    assert two.failed
    assert one.trace != two.trace
    sent = first(collector, lambda s: s.id == two.parent, "the poke of attempt 2")
    assert not sent.parent
    ((trace, link),) = sent.links
    assert trace == one.trace
    linked = first(collector, lambda s: s.id == link, "what the link leads to")
    assert (linked.name, linked.service) == ("orchestrator.WorkerService/ClaimTask", SERVER)
    assert called(collector, one, "WorkerService/ClaimTask").name == linked.name


def test_no_attribute_tells_more_than_its_name_says(network: Network, collector: Collector) -> None:
    network.built(network.function())
    first(collector, lambda s: names.FUNCTION in s.attributes and s.service == WORKER, "the building")
    known = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    told = [(name, value) for span in collector.spans for name, value in span.attributes.items()]
    assert told
    assert {name for name, _ in told} <= known
    ways = [str(value) for name, value in told if name not in (names.RPC_METHOD, names.HTTP_ROUTE)]
    assert not [value for value in ways if "/" in value or os.sep in value]
    places = network.federation.places
    passwords = [url.partition("://")[2].partition("@")[0] for url in (places.database_url, places.broker_url)]
    assert not [value for value in ways if any(password in value for password in passwords)]


def test_the_log_leads_to_the_trace(network: Network, collector: Collector) -> None:
    server = network.federation.service("serve")
    assert isinstance(server, Process)
    network.client("org-a").info.QueryVersion(pb.QueryVersionParam())
    span = first(collector, lambda s: (s.service, s.kind) == (SERVER, "SERVER"), "a call")
    lines = [json.loads(line) for line in server.log_lines() if span.id in line]
    told = {(line[names.TRACE_ID], line[names.SPAN_ID], line["method"]) for line in lines if "code" in line}
    assert told == {(span.trace, span.id, span.name.rpartition("/")[2])}
    assert all(line["request"] for line in lines)
