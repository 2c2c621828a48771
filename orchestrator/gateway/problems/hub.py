"""What lies outside and is asked only where the operator says where: a hub of models, and a language model."""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from orchestrator.gateway.problems import plain
from orchestrator.gateway.problems.settings import ProblemsHttpSettings

MODEL_SECONDS = 45.0
"""How long the hub may take for one model."""

COMPARISON_SECONDS = 450.0
"""How long the language model may take for a comparison."""

MOST_COMPARED = 5

_AT_ONCE = 8
_MOST_BYTES = 8 * 1024 * 1024
_MOST_TOLD = 4000
_TABLE = ("license", "model_family", "architectures", "languages")
_ORDER = (
    "You compare machine-learning models for a practitioner. Answer with one JSON object and nothing else: "
    '{"comparison_summary": text, "model_cards": [{"model_id": text, "purpose": text, "best_for": [text], '
    '"watch_out_for": [text]}]}, with one card for each model, in the order given. Say only what the facts support.'
)


class Hub:
    """Asks the hub and the language model.

    Args:
        settings: where they are.
    """

    def __init__(self, settings: ProblemsHttpSettings) -> None:
        self._settings = settings

    @property
    def knows_models(self) -> bool:
        """Whether there is a hub."""
        return self._settings.model_hub_address is not None

    @property
    def compares(self) -> bool:
        """Whether there is a language model."""
        return self._settings.language_model_address is not None

    async def infos(self, models: Sequence[str]) -> dict[str, Any]:
        """Return what the hub says of some models, or why it said nothing."""
        token = self._settings.model_hub_token
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        turns = asyncio.Semaphore(_AT_ONCE)
        async with _client(MODEL_SECONDS, headers) as client:

            async def one(model: str) -> dict[str, Any]:
                async with turns:
                    return await self._info(client, model)

            found = await asyncio.gather(*map(one, models))
        errors = [{"model_id": each["model_id"], "error": each["error"]} for each in found if "error" in each]
        return {"models": found, "errors": errors}

    async def _info(self, client: httpx.AsyncClient, model: str) -> dict[str, Any]:
        url = f"{(self._settings.model_hub_address or '').rstrip('/')}/{quote(model, safe='/')}"
        try:
            async with asyncio.timeout(MODEL_SECONDS):
                status, content = await _sent(client, "GET", url)
        except (TimeoutError, httpx.TimeoutException):
            return {"model_id": model, "status": 0, "info": None, "error": "read_timeout"}
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return {"model_id": model, "status": 0, "info": None, "error": f"the model hub gave no answer: {error}"}
        info = plain.parsed(content)
        shown = {"model_id": model, "status": status, "info": info}
        if status != httpx.codes.OK:
            shown["error"] = f"the model hub answered {status}"
        return shown

    async def compare(self, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a comparison of some models: a text and a card for each by the language model, and a table of facts.

        Args:
            models: as `infos` returns them; the first few count.

        Raises:
            TimeoutError: the language model took too long.
            httpx.HTTPError: it gave no answer.
            ValueError: its answer is none.
        """
        table = [_facts(each) for each in models[:MOST_COMPARED]]
        told = [
            {**facts, "info": json.dumps(each.get("info"), ensure_ascii=False)[:_MOST_TOLD]}
            for facts, each in zip(table, models, strict=False)
        ]
        asked = {
            "model": self._settings.language_model,
            "messages": [
                {"role": "system", "content": _ORDER},
                {"role": "user", "content": json.dumps(told, ensure_ascii=False)},
            ],
            "response_format": {"type": "json_object"},
            "stream": False,
        }
        async with (
            asyncio.timeout(COMPARISON_SECONDS),
            _client(COMPARISON_SECONDS) as client,
        ):
            status, content = await _sent(client, "POST", self._settings.language_model_address or "", asked)
        if status != httpx.codes.OK:
            raise ValueError(f"it answered {status}")
        said = _said(plain.parsed(content))
        cards = said.get("model_cards")
        cards = cards if isinstance(cards, list) else []
        by_model = {card.get("model_id"): card for card in cards if isinstance(card, dict)}
        return {
            "comparison_summary": _text(said.get("comparison_summary")),
            "model_cards": [_card(row["model_id"], by_model.get(row["model_id"], {})) for row in table],
            "comparison_table": table,
        }


def _client(seconds: float, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """Return a client that trusts whom this system does, or whom SSL_CERT_FILE names."""
    return httpx.AsyncClient(headers=headers, timeout=seconds, verify=ssl.create_default_context(), trust_env=False)


async def _sent(client: httpx.AsyncClient, method: str, url: str, document: Any = None) -> tuple[int, bytes]:
    """Send a request, and return the status and the body of its answer.

    Raises:
        ValueError: the body is too large.
    """
    content = bytearray()
    async with client.stream(method, url, json=document) as answer:
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > _MOST_BYTES:
                raise ValueError(f"the answer has more than {_MOST_BYTES} bytes")
    return answer.status_code, bytes(content)


def _said(answer: Any) -> dict[str, Any]:
    """Return the object that a chat completion holds."""
    try:
        content = answer["choices"][0]["message"]["content"]
    except (LookupError, TypeError) as error:
        raise ValueError("its answer is no chat completion") from error
    said = plain.parsed(str(content).strip().removeprefix("```json").removesuffix("```").encode())
    if not isinstance(said, dict):
        raise ValueError("it did not say an object of JSON")
    return said


def _card(model: str, said: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model_id": model,
        "purpose": _text(said.get("purpose")),
        "best_for": _texts(said.get("best_for")),
        "watch_out_for": _texts(said.get("watch_out_for")),
    }


def _facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a model: what the hub says of it, as text."""
    info = model.get("info")
    info = info if isinstance(info, dict) else {}
    card, config = info.get("cardData"), info.get("config")
    card = card if isinstance(card, dict) else {}
    config = config if isinstance(config, dict) else {}
    said = {
        "license": card.get("license") or info.get("license"),
        "model_family": info.get("library_name") or config.get("model_type"),
        "architectures": config.get("architectures") or info.get("architectures"),
        "languages": card.get("language") or info.get("languages"),
    }
    return {"model_id": _text(model.get("model_id")), **{name: ", ".join(_texts(said[name])) for name in _TABLE}}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
