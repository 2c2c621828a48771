"""The native calls about nodes: their states, commands to them and their tasks, and questions to them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.gateway.problems import documents, forms, native_shapes, refused, vocabulary
from orchestrator.gateway.problems.answering import Answering, answer
from orchestrator.gateway.problems.documents import FormError
from orchestrator.gateway.problems.settings import ProblemsHttpSettings
from orchestrator.gateway.problems.submission_calls import CONFIGURATION_SECONDS, LONGEST_CONFIGURATION_SECONDS
from orchestrator.gateway.problems.watch import command_key, configuration_key
from orchestrator.problems import commands, configuration, graph, modules

_REPLICAS = ("one", "all")

_Answers = tuple[Sequence[pb.ConfigurationAnswer], bool]
"""Those so far, and whether no more will come."""


class NodeCalls:
    """Answers them.

    Args:
        answering: what all calls have in common.
        settings: of the HTTP of problems.
    """

    def __init__(self, answering: Answering, settings: ProblemsHttpSettings) -> None:
        self._answering = answering
        self._settings = settings

    async def nodes(self, request: Request) -> Response:
        """List all kinds of nodes with their replicas."""
        return answer({"nodes": [native_shapes.node(kind) for kind in await self._states(request)], "next": None})

    async def node(self, request: Request) -> Response:
        """Show a kind of nodes."""
        wanted = _kind(request.path_params)
        return answer(next(native_shapes.node(kind) for kind in await self._states(request) if kind.kind == wanted))

    async def _states(self, request: Request) -> list[pb.ModuleKind]:
        deployment = self._answering.deployment
        return await self._answering.done(request, "GetModuleStates", lambda tx: [*modules.states(tx, deployment)])

    async def give(self, request: Request) -> Response:
        """Give a command."""
        asked, chosen = forms.command(await self._answering.received(request))
        deployment = self._answering.deployment
        record, repeated = await self._answering.done(
            request, "GiveCommand", lambda tx: commands.give(tx, deployment, asked, chosen)
        )
        return answer(native_shapes.command(record), 200 if repeated else 202)

    async def command(self, request: Request) -> Response:
        """Show a command; with `wait`, when it has ended or the time is over."""
        seconds = forms.wait(request.query_params, self._settings.longest_wait)
        command, deployment = forms.command_in(request.path_params), self._answering.deployment

        def use(transaction: Transaction) -> pb.CommandRecord:
            return commands.get(transaction, deployment, command)

        record = await self._answering.done(request, "GetCommand", use)
        if record.state == pb.COMMAND_ACCEPTED and seconds:
            ended = await self._answering.awaited(
                request, command_key(record.command_id), "AwaitCommand", use, _ended, seconds
            )
            record = ended or await self._answering.done(request, "GetCommand", use)
        return answer(native_shapes.command(record))

    async def commands(self, request: Request) -> Response:
        """List commands, the newest first."""
        query, deployment = request.query_params, self._answering.deployment
        limit, after = forms.limit(query), forms.after(query, str)
        start = after[0] if after else None
        found = await self._answering.done(
            request, "ListCommands", lambda tx: [*commands.newest(tx, deployment, limit + 1, start)]
        )
        following = forms.mark(found[limit - 1].command_id) if len(found) > limit else None
        return answer({"commands": [*map(native_shapes.command, found[:limit])], "next": following})

    async def configure(self, request: Request) -> Response:
        """Ask one replica of a kind, or all."""
        node = _kind(request.path_params)
        document = await self._answering.received(request)
        text, timeout = forms.configuration(document, LONGEST_CONFIGURATION_SECONDS, CONFIGURATION_SECONDS)
        whom = documents.text(document, "replicas") or "one"
        if whom not in _REPLICAS:
            raise FormError("replicas", f"one of {', '.join(_REPLICAS)} is expected")
        vocabulary.check(text, self._settings.dataset_folders)
        deployment = self._answering.deployment
        number = await self._answering.done(
            request,
            "AskConfiguration",
            lambda tx: configuration.ask(tx, deployment, node, text, timeout, all=whom == "all"),
        )

        def use(transaction: Transaction) -> _Answers:
            return configuration.answers(transaction, deployment, number)

        given = await self._answering.awaited(
            request, configuration_key(number), "AwaitConfiguration", use, _whole, timeout
        )
        if given is None:
            given = await self._answering.done(request, "GetConfiguration", use)
        answers, complete = given
        shown = [_answered(each) for each in answers]
        if not shown:
            problem = f"{graph.KINDS[node].name} did not answer within {timeout:g} s; ask again, with a longer timeout"
            return refused.error(504, problem, transaction_id=number, answers=[])
        if not any(each.replica for each in answers):
            return refused.error(503, json.loads(answers[0].configuration)["error"], transaction_id=number, answers=[])
        return answer({"transaction_id": number, "answers": shown, "complete": complete})


def _kind(path: Mapping[str, str]) -> int:
    kind = graph.named(path["kind"])
    if kind is None:
        known = ", ".join(each.name for each in graph.KINDS.values())
        raise NotFoundError(f"there is no kind {path['kind'][:100]!r} of nodes; there are {known}")
    return kind.number


def _ended(record: pb.CommandRecord) -> pb.CommandRecord | None:
    return None if record.state == pb.COMMAND_ACCEPTED else record


def _whole(given: _Answers) -> _Answers | None:
    return given if given[1] else None


def _answered(given: pb.ConfigurationAnswer) -> dict[str, Any]:
    return {
        "replica": given.replica or None,
        "node_id": given.node_id,
        "transaction_id": given.transaction_id,
        "success": given.success,
        "err_code": given.err_code,
        "configuration": given.configuration,
    }
