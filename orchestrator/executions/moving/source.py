"""The other service, as its API shows it: lists, items, files."""

import contextlib
import json
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from orchestrator.executions.files.uploads import LONGEST_NAME, Upload

SCHEMAS, EXECUTIONS = "/api/schemas/", "/api/executions/"

_SECONDS = 60.0
_PAUSES = (0.5, 1.0, 2.0, 4.0)
_PAGE = 100
_MOST_IN_VAIN = 50
_LATER = (408, 425, 429, 502, 503, 504)


class AwayError(Exception):
    """The other service does not answer: the rest can be read when it does."""


class UnreadableError(Exception):
    """This one thing cannot be read."""


class Source:
    """Reads from the other service, and changes nothing there.

    Args:
        url: below which its `/api/` lies.
        token: a bearer token, where it asks for one.
        authorities: a file with its CA certificates, None for those of the system.
        pauses: seconds before each further try, where it does not answer.

    Raises:
        OSError: that file cannot be used.
    """

    def __init__(
        self, url: str, token: str | None = None, authorities: Path | None = None, pauses: tuple[float, ...] = _PAUSES
    ) -> None:
        self._url = url.rstrip("/")
        self._pauses = pauses
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._client = httpx.Client(
            headers=headers,
            timeout=_SECONDS,
            follow_redirects=True,
            trust_env=False,
            verify=ssl.create_default_context(cafile=authorities),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def count(self, path: str) -> int | None:
        """Return how many rows a list has, None where it does not say; it is asked once.

        Raises:
            AwayError: the service does not answer.
        """
        try:
            count = _object(self._get(path, {"page_size": 1}, pauses=())).get("count")
        except UnreadableError:
            return None
        return count if isinstance(count, int) else None

    def rows(self, path: str) -> Iterator[dict[str, Any] | UnreadableError]:
        """Yield the rows of a list, the oldest first; in the place of one that spoils its page, why it cannot be read.

        Args:
            path: `SCHEMAS` or `EXECUTIONS`.

        Raises:
            AwayError: the service does not answer.
        """
        number = 1
        while True:
            try:
                page = self._page(path, number, _PAGE)
            except UnreadableError:
                # One row that it cannot show makes all of a page fail.
                alone = list(self._one_by_one(path, number))
                yield from alone
                if len(alone) < _PAGE or isinstance(alone[-1], _HopelessError):
                    return
            else:
                yield from page["results"]
                if not page.get("next"):
                    return
            number += 1

    def _one_by_one(self, path: str, number: int) -> Iterator[dict[str, Any] | UnreadableError]:
        """Yield the rows of a page, each as a page of its own; fewer where the list has no more."""
        first, in_vain = (number - 1) * _PAGE + 1, 0
        for place in range(first, first + _PAGE):
            try:
                found = self._page(path, place, 1)["results"]
            except _AbsentError:
                return
            except UnreadableError as error:
                in_vain += 1
                yield UnreadableError(f"number {place} of {path}: {error}")
                if in_vain == _MOST_IN_VAIN:
                    yield _HopelessError(f"{path} from number {place + 1} on: nothing of it can be read")
                    return
            else:
                in_vain = 0
                yield from found

    def _page(self, path: str, number: int, size: int) -> dict[str, Any]:
        page = self.document(path, page=number, page_size=size, sort="created_at")
        if not isinstance(page.get("results"), list) or not all(isinstance(row, dict) for row in page["results"]):
            raise UnreadableError("what it answers is no list")
        return page

    def document(self, path: str, **query: Any) -> dict[str, Any]:
        """Return the object at a path.

        Raises:
            UnreadableError: the answer is none.
            AwayError: the service does not answer.
        """
        return _object(self._get(path, query))

    @contextlib.contextmanager
    def download(self, path: str, staging: Path, **query: Any) -> Iterator[Upload]:
        """Download a file to a folder, from which it is gone after the block.

        Raises:
            UnreadableError: it cannot be downloaded, or not all of it.
            AwayError: the service does not answer.
        """
        with tempfile.NamedTemporaryFile(dir=staging) as file:
            answer = self._get(path, query, file)
            file.flush()
            size = file.tell()
            if not size:
                raise UnreadableError("the file is empty")
            yield Upload(_name(answer), size, Path(file.name))

    def _get(
        self, path: str, query: dict[str, Any], file: Any = None, pauses: tuple[float, ...] | None = None
    ) -> httpx.Response:
        """Ask, a few times where there is no answer.

        Args:
            path: below the URL.
            query: parameters.
            file: takes the content, where it is not to be held in memory.
            pauses: in seconds before each further try, None for the usual.
        """
        reason = ""
        for pause in (0.0, *(self._pauses if pauses is None else pauses)):
            time.sleep(pause)
            if file is not None:
                file.seek(0)
                file.truncate()
            try:
                with self._client.stream("GET", f"{self._url}{path}", params=query) as answer:
                    if answer.status_code in _LATER:
                        reason = f"it answers {answer.status_code}"
                        continue
                    if answer.status_code != httpx.codes.OK:
                        answer.read()
                        kind = _AbsentError if answer.status_code == httpx.codes.NOT_FOUND else UnreadableError
                        raise kind(f"it answers {answer.status_code}{_words(answer)}")
                    if file is None:
                        answer.read()
                    else:
                        for chunk in answer.iter_bytes():
                            file.write(chunk)
                    return answer
            except (httpx.TransportError, ssl.SSLError) as error:
                reason = str(error) or type(error).__name__
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise UnreadableError(str(error) or type(error).__name__) from error
        raise AwayError(f"{self._url}{path} cannot be read: {reason}")


class _AbsentError(UnreadableError):
    """There is nothing."""


class _HopelessError(UnreadableError):
    """There is no sense in asking for the rest of a list."""


def at(path: str, part: object, *more: str) -> str:
    """Return the path of an item, or of something of it."""
    return "".join([path, quote(str(part), safe=""), "/", *(f"{each}/" for each in more)])


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = json.loads(answer.content)
    except ValueError as error:
        raise UnreadableError("it answers no JSON") from error
    if not isinstance(document, dict):
        raise UnreadableError("it answers no object")
    return document


def _words(answer: httpx.Response) -> str:
    text = " ".join(answer.text.split())
    # A page in HTML says nothing here.
    return f": {text[:200]}" if text and not text.startswith("<") else ""


def _name(answer: httpx.Response) -> str:
    """Return what a file is called, by its header; the extension counts."""
    _, _, given = answer.headers.get("Content-Disposition", "").partition("filename=")
    name = given.partition(";")[0].strip().strip('"').rpartition("/")[2]
    return name[-LONGEST_NAME:] or "file"
