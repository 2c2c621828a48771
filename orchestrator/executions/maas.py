"""MaaS, the project's store of models and engines: what it says of the versions that an execution names.

It is asked with no transaction open, and for each thing once in a call.
"""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from orchestrator import protos as pb
from orchestrator.core.errors import InternalError
from orchestrator.executions.forms.form import rule

_SECONDS = 5.0
_TRIES = 2
_LONGEST = 1024 * 1024
_NEEDED = ("max_iteration_time", "memory_request", "memory_limit", "cpu_request", "cpu_limit")


class MaasError(InternalError):
    """MaaS does not answer, or not as it should."""


STAND_IN = pb.EngineValues(
    container_name="dummy",
    container_version="dummy",
    max_iteration_time="1200",
    memory_request="3584Mi",
    memory_limit="3584Mi",
    cpu_request="250m",
    cpu_limit="4000m",
    download_resume_retries="4",
)
"""What counts where MaaS is not asked."""


class Maas:
    """Asks MaaS during one call.

    Args:
        host: host:port.
    """

    def __init__(self, host: str) -> None:
        self._root = f"http://{host}/api"
        self._answers: dict[str, Mapping[str, Any]] = {}

    def values(self, version: int, model: int | None) -> pb.EngineValues:
        """Return what an engine of a version needs, and a model where one is given.

        Raises:
            InvalidError: MaaS has none of them.
            MaasError: it does not answer, or not as it should.
        """
        what = "AI Engine Version"
        found = self._ask(f"{self._root}/ai_engines_versions/{version}/", what)
        needed = {name: str(_value(found, name, what)) for name in _NEEDED}
        place = str(_value(found, "ai_engine", what))
        if urlsplit(place).scheme not in ("http", "https"):
            raise _fault(what, "the URL of the AI Engine is none")
        engine = self._ask(place, "AI Engine")
        retries = STAND_IN.download_resume_retries
        if model is not None:
            shown = self._ask(f"{self._root}/ai_models/{model}/", "AI Model")
            retries = str(_value(shown, "download_resume_retries", "AI Model"))
        return pb.EngineValues(
            container_name=str(_value(engine, "container_name", "AI Engine")),
            container_version=str(_value(found, "container_version", what)),
            download_resume_retries=retries,
            **needed,
        )

    def _ask(self, url: str, what: str) -> Mapping[str, Any]:
        if url not in self._answers:
            self._answers[url] = _read(_get(url, what), what)
        return self._answers[url]


def _get(url: str, what: str) -> httpx.Response:
    reason = ""
    for _ in range(_TRIES):
        try:
            # Whom this system trusts; its engines may lie behind https.
            verify = ssl.create_default_context() if url.startswith("https:") else True
            answer = httpx.get(
                url, headers={"Accept": "application/json"}, timeout=_SECONDS, verify=verify, trust_env=False
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            continue
        if answer.status_code < 500:
            return answer
        reason = f"Status code {answer.status_code}."
    raise _fault(what, reason)


def _read(answer: httpx.Response, what: str) -> Mapping[str, Any]:
    try:
        if len(answer.content) > _LONGEST:
            raise ValueError("the answer is too long")
        body = answer.json()
    except ValueError as error:
        raise _fault(what, f"no JSON: {error}") from error
    if answer.status_code != 200:
        text = f"Error while retrieving {what} from MaaS. Status code {answer.status_code}. {body}"
        raise rule(text)
    if not isinstance(body, dict):
        raise _fault(what, "the answer is no object")
    return body


def _value(found: Mapping[str, Any], name: str, what: str) -> Any:
    if found.get(name) is None:
        raise _fault(what, f"the answer lacks {name}")
    return found[name]


def _fault(what: str, reason: str) -> MaasError:
    return MaasError(f"Error while retrieving {what} from MaaS. {reason}")
