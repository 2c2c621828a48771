"""Submitting a problem as front ends that exist do, and what they ask modules and the model hub."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import protos as pb
from orchestrator.calls.refusals import refusal
from orchestrator.core.errors import OrchestratorError, UnavailableError
from orchestrator.gateway.problems import documents, forms, input_form, plain, refused, results, vocabulary
from orchestrator.gateway.problems.answering import Answering, answer
from orchestrator.gateway.problems.documents import Document, FormError
from orchestrator.gateway.problems.hub import MOST_COMPARED, Hub
from orchestrator.gateway.problems.refused import RefusedError
from orchestrator.gateway.problems.settings import ProblemsHttpSettings
from orchestrator.gateway.problems.watch import configuration_key
from orchestrator.problems import configuration, graph, submitting

CONFIGURATION_SECONDS = 60.0
LONGEST_CONFIGURATION_SECONDS = 600.0

_MOST_MODELS = 100


class SubmissionCalls:
    """Answers them.

    Args:
        answering: what all calls have in common.
        settings: of the HTTP of problems.
    """

    def __init__(self, answering: Answering, settings: ProblemsHttpSettings) -> None:
        self._answering = answering
        self._settings = settings
        self._hub = Hub(settings)

    async def submit(self, request: Request) -> Response:
        """Store a task and start it."""
        new = input_form.read(await self._answering.received(request, needed=True))
        deployment = self._answering.deployment
        task = await self._answering.done(
            request, "SubmitProblem", lambda tx: submitting.submit(tx, deployment, new).task_id
        )
        name = f"{{{task.problem_id}, {task.iteration_id}}}"
        return answer({"message": f"Task {name} is stored and runs.", "task_id": results.task_id(task)})

    async def configure(self, request: Request) -> Response:
        """Ask a module, and wait for its answer; whatever comes of it has a `response`."""
        document: Document = {}
        try:
            document = await self._answering.received(request)
            node, text, timeout = self._asked(document)
            return await self._configured(request, document, node, text, timeout)
        except RefusedError as error:
            refused_ = error.refusal
        except (OrchestratorError, UnavailableError) as error:
            refused_ = refusal("problems", error)
            document = document or getattr(error, "rest", {})
        told = _unanswered(document, refused_.message)
        return refused.answer(refused_, self._answering.challenge, response=told)

    async def _configured(self, request: Request, document: Document, node: int, text: str, timeout: float) -> Response:
        deployment = self._answering.deployment
        ask, get = configuration.ask, configuration.answer_of
        number = await self._answering.done(
            request, "AskConfiguration", lambda tx: ask(tx, deployment, node, text, timeout)
        )
        found: pb.ConfigurationAnswer | None = await self._answering.awaited(
            request,
            configuration_key(number),
            "AwaitConfiguration",
            lambda tx: get(tx, deployment, number),
            lambda given: given,
            timeout,
        )
        kind = graph.KINDS[node].name
        if found is None:
            problem = f"{kind} did not answer within {timeout:g} s; ask again, with a longer timeout"
            return refused.error(504, problem, response=_unanswered(document, problem, number))
        if not found.replica:
            problem = json.loads(found.configuration)["error"]
            return refused.error(503, problem, response=_unanswered(document, problem, number))
        response = {
            "node_id": node,
            "transaction_id": number,
            "success": found.success,
            "err_code": found.err_code,
            "configuration": found.configuration,
        }
        return answer({"message": f"{kind} has answered.", "response": response | _echo(document)})

    def _asked(self, document: Document) -> tuple[int, str, float]:
        text, timeout = forms.configuration(document, LONGEST_CONFIGURATION_SECONDS, CONFIGURATION_SECONDS)
        node = documents.whole(document, "node_id", 0, len(graph.KINDS) - 1)
        if node is None:
            word = vocabulary.first_word(text)
            if word not in vocabulary.KINDS:
                known = ", ".join(vocabulary.KINDS)
                raise FormError(
                    "configuration", f"no node is known for {word[:100]!r}: give node_id, or begin with one of {known}"
                )
            node = vocabulary.KINDS[word]
        vocabulary.check(text, self._settings.dataset_folders)
        return node, text, timeout

    async def hub(self, request: Request) -> Response:
        """Answer with what the model hub says of some models."""
        models = documents.texts(await self._answering.received(request), "model_ids")
        if not models or len(models) > _MOST_MODELS:
            raise FormError("model_ids", f"a list of 1 to {_MOST_MODELS} ids of models is expected")
        if not self._hub.knows_models:
            return refused.error(503, _off("the model hub", "MODEL_HUB"))
        return await self._outside(request, self._hub.infos(models))

    async def compare(self, request: Request) -> Response:
        """Answer with a comparison of some models."""
        models = (await self._answering.received(request)).get("models")
        if not isinstance(models, list) or not models or not all(isinstance(each, dict) for each in models):
            raise FormError("models", "a list of what /hf_models_info tells of models is expected, with one at least")
        if not self._hub.compares:
            return refused.error(503, _off("the language model", "LANGUAGE_MODEL"))
        try:
            return await self._outside(request, self._hub.compare(models[:MOST_COMPARED]))
        except TimeoutError:
            return refused.error(504, "the language model did not answer in time; ask again, with fewer models")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return refused.error(502, f"the language model gave no answer that is one: {error}; ask its operator")

    async def _outside(self, request: Request, asked: Any) -> Response:
        """Answer with what is asked outside, as long as somebody waits for it."""
        asking = asyncio.ensure_future(asked)
        try:
            await self._answering.waiting.until(request, asking)
            return answer(asking.result())
        finally:
            asking.cancel()


def _echo(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"request_id": document["request_id"]} if "request_id" in document else {}


def _unanswered(document: Document, problem: str, number: int = 0) -> dict[str, Any]:
    """Return what stands for an answer that did not come: front ends count answers by the node that they asked."""
    node, text = document.get("node_id"), document.get("configuration")
    if node is None and isinstance(text, str):
        node = vocabulary.KINDS.get(vocabulary.first_word(text))
    return {
        "node_id": node if isinstance(node, int) and not isinstance(node, bool) else 0,
        "transaction_id": number,
        "success": False,
        "err_code": 1,
        "configuration": plain.body({"error": problem}).decode(),
    } | _echo(document)


def _off(what: str, setting: str) -> str:
    return f"{what} is not asked here: its operator has set no ORCHESTRATOR_PROBLEMS_{setting}_ADDRESS"
