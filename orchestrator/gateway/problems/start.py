"""What serves problems over HTTP, where the operator says at which address."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import ValidationError
from pydantic_settings import BaseSettings
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.calls.call import Calls
from orchestrator.calls.gate import Caller
from orchestrator.core.settings_errors import explain
from orchestrator.engine.transaction import Database
from orchestrator.gateway.identity import Identity
from orchestrator.gateway.problems import edge, openapi
from orchestrator.gateway.problems.answering import Answering
from orchestrator.gateway.problems.edge import Application, Doors, Handler
from orchestrator.gateway.problems.event_calls import EventCalls
from orchestrator.gateway.problems.node_calls import NodeCalls
from orchestrator.gateway.problems.plain import JSON, body
from orchestrator.gateway.problems.problem_calls import ProblemCalls
from orchestrator.gateway.problems.result_calls import ResultCalls
from orchestrator.gateway.problems.settings import ProblemsHttpSettings
from orchestrator.gateway.problems.submission_calls import SubmissionCalls
from orchestrator.gateway.problems.waiting import Waiting
from orchestrator.gateway.problems.watch import Watch
from orchestrator.gateway.tracing import traced

DESCRIPTION = "/openapi/problems.json"
"""Where the native calls are described; for anybody, since it says nothing of what is kept."""

# Their fields come from the environment.
_SETTINGS: type[BaseSettings] = ProblemsHttpSettings


@dataclass(frozen=True)
class Place:
    """Where problems are served.

    Args:
        address: host:port.
        is_loopback: whether only this machine reaches it.
        organization: of the deployment.
        channel: of the deployment.
        deployment: its name.
    """

    address: str
    is_loopback: bool
    organization: str
    channel: str
    deployment: str


def serving(calls: Calls, identity: Identity, database: Database, place: Place) -> tuple[Application, Watch]:
    """Return what serves problems, and what follows their events meanwhile.

    Args:
        calls: answers calls.
        identity: says who calls.
        database: where events are.
        place: where.

    Raises:
        ValueError: a setting is wrong, in one line.
    """
    try:
        settings = cast(ProblemsHttpSettings, _SETTINGS())
    except ValidationError as error:
        raise ValueError(explain(error, ProblemsHttpSettings)) from error
    waiting = Waiting()
    watch = Watch(database, place.channel, place.deployment, waiting)
    caller = Caller(place.organization, place.channel, None)
    answering = Answering(calls, identity, caller, place.deployment, waiting)
    doors = Doors.of(place.address, place.is_loopback, settings.hosts, settings.origins)
    return Application(traced(_routes(calls, answering, settings, watch)), doors), watch


def _routes(calls: Calls, answering: Answering, settings: ProblemsHttpSettings, watch: Watch) -> Sequence[Route]:
    described = body(openapi.document())

    async def describe(_: Request) -> Response:
        return Response(described, media_type=JSON)

    def route(path: str, **handlers: Handler) -> Route:
        return edge.route(path, answering.challenge, **handlers)

    results, submissions = ResultCalls(answering, settings.longest_wait), SubmissionCalls(answering, settings)
    nodes, problems = NodeCalls(answering, settings), ProblemCalls(answering)
    events = EventCalls(answering, calls, watch)
    iteration = "/api/problems/{problem}/iterations/{iteration}"
    return [
        route("/", GET=results.greet),
        route("/status", GET=results.status, POST=results.status),
        route("/user_input", POST=submissions.submit),
        route("/results", GET=results.latest, POST=results.result),
        route("/config_request", POST=submissions.configure),
        route("/cancel", POST=results.cancel),
        route("/available_tasks", POST=results.tasks),
        route("/hf_models_info", POST=submissions.hub),
        route("/hf_models_compare", POST=submissions.compare),
        route("/terminate", GET=results.stays),
        route("/shutdown", GET=results.stays),
        route("/api/nodes", GET=nodes.nodes),
        route("/api/nodes/{kind}", GET=nodes.node),
        route("/api/nodes/{kind}/configuration", POST=nodes.configure),
        route("/api/control", GET=nodes.commands, POST=nodes.give),
        route("/api/control/{command}", GET=nodes.command),
        route("/api/problems", GET=problems.problems, POST=problems.submit),
        route("/api/problems/{problem}", GET=problems.problem, DELETE=problems.delete_problem),
        route("/api/problems/{problem}/iterations", POST=problems.iterate),
        route(iteration, GET=problems.iteration, DELETE=problems.delete_iteration),
        route(f"{iteration}/start", POST=problems.start),
        route(f"{iteration}/raw_model", GET=problems.raw_model),
        route("/api/events", GET=events.events),
        route(DESCRIPTION, GET=describe),
    ]
