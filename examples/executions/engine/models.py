"""MaaS, where models, metrics and files are kept, as the program of a container uses it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx

_SECONDS = 30.0


class Models:
    """A MaaS.

    Args:
        maas: host:port.
    """

    def __init__(self, maas: str) -> None:
        self._client = httpx.Client(base_url=f"http://{maas}/api/", timeout=_SECONDS)
        self._kept: list[str] = []

    def model(self, id_: int) -> bytes:
        """Return the contents of a model."""
        answer = self._client.get(f"ai_models/{id_}/download/")
        answer.raise_for_status()
        return answer.content

    def keep_model(self, content: bytes, about: Mapping[str, str]) -> int:
        """Keep a model; return its id."""
        return self._keep("ai_models", about, content)

    def keep_metrics(self, metrics: Mapping[str, float]) -> list[int]:
        """Keep metrics; return their ids."""
        return [self._keep("evaluation_metrics", {"name": name, "value": metrics[name]}) for name in sorted(metrics)]

    def keep_file(self, content: bytes, name: str) -> int:
        """Keep a file; return its id."""
        return self._keep("generic_files", {"name": name}, content)

    def forget(self) -> None:
        """Delete what was kept: nobody refers to it."""
        for path in self._kept:
            self._client.delete(path)

    def _keep(self, kind: str, about: Mapping[str, object], content: bytes | None = None) -> int:
        parts: dict[str, tuple[str | None, str | bytes]] = {"data": (None, json.dumps(about))}
        if content is not None:
            parts["contents"] = ("contents", content)
        answer = self._client.post(f"{kind}/", files=parts)
        answer.raise_for_status()
        id_ = int(answer.json()["id"])
        self._kept.append(f"{kind}/{id_}/")
        return id_
