"""An execution as the program of a container knows it: what it downloads, and what it reports."""

from __future__ import annotations

import json
from typing import Any

import httpx

_SECONDS = 30.0
_TRIES = 5


class ReportError(Exception):
    """The orchestrator did not take a report: another has ended the execution."""


class Execution:
    """An execution at its orchestrator.

    Args:
        orchestrator: host:port.
        id_: of the execution.
    """

    def __init__(self, orchestrator: str, id_: int) -> None:
        self._url = f"http://{orchestrator}/api/executions/{id_}/"
        self._client = httpx.Client(timeout=_SECONDS, follow_redirects=True)

    def shown(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        answer = self._client.get(self._url)
        answer.raise_for_status()
        return dict(answer.json())

    def clinical_data(self, partner: str) -> dict[str, Any]:
        """Return what was sent for the patients of a data partner."""
        answer = self._client.get(f"{self._url}retrieve_data_partner_information/", params={"data_partner": partner})
        answer.raise_for_status()
        return dict(answer.json())

    def user_vars(self, descriptor: str) -> dict[str, Any]:
        """Return what its people say to an AI engine.

        Raises:
            ValueError: they have sent no JSON object.
        """
        content = json.loads(self._download("download_user_vars/", descriptor=descriptor))
        if not isinstance(content, dict):
            raise ValueError(f"the user variables of {descriptor} are no JSON object")
        return content

    def external_data(self) -> bytes:
        """Return the file that was sent with it."""
        return self._download("download_external_data/")

    def running(self) -> None:
        """Report that it runs."""
        self._report("running", {})

    def succeeded(self, made: dict[str, Any]) -> None:
        """Report that it has succeeded.

        Args:
            made: ids in MaaS, as the schema wants them.
        """
        self._report("succeeded", made)

    def failed(self, message: str) -> None:
        """Report that it has failed, and why."""
        self._report("failed", {"message": message})

    def _report(self, state: str, data: dict[str, Any]) -> None:
        # Parts without files, so each is given as one: (no name, content).
        answer = self._client.patch(
            f"{self._url}update_to_{state}/", files={"data": (None, json.dumps(data))}, follow_redirects=False
        )
        if answer.status_code != httpx.codes.OK:
            raise ReportError(f"{state} was answered {answer.status_code}: {answer.text}")

    def _download(self, path: str, **asked: str) -> bytes:
        """Return a file: its length first, then its bytes; what breaks off is gone on with."""
        head = self._client.head(self._url + path, params=asked)
        head.raise_for_status()
        size, got = int(head.headers["Content-Length"]), bytearray()
        for _ in range(_TRIES):
            wanted = {"Range": f"bytes={len(got)}-{size}"} if got else {}
            try:
                with self._client.stream("GET", self._url + path, params=asked, headers=wanted) as answer:
                    answer.raise_for_status()
                    for chunk in answer.iter_bytes():
                        got += chunk
            except httpx.TransportError as error:
                print(f"{path} broke off after {len(got)} of {size} bytes: {error}", flush=True)
                continue
            if len(got) == size:
                return bytes(got)
        raise OSError(f"{path} has {size} bytes, and {len(got)} came")
