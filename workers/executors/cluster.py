"""A cluster's API, as far as jobs need it: asked again when it is busy or its answer is lost.

How it is reached, and who asks, `lightkube` reads as every client does: of the service account, or of KUBECONFIG.
Objects are JSON as they are sent: we write one kind, and read a few fields of two.
"""

import contextlib
import json
import random
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from workers.executors.executor import UnfitError

Object: TypeAlias = dict[str, Any]

try:
    import httpx2
    from lightkube.config import client_adapter
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.core.exceptions import ConfigError
except ImportError as error:
    raise UnfitError(
        "the executor kubernetes needs the package lightkube, which is not installed: install orchestrator[kubernetes]"
    ) from error

PATIENCE_SECONDS = 30.0
"""How long a call is repeated."""
WATCH_SECONDS = 60
"""After which a cluster ends a watch, which then begins again."""

_CALL_SECONDS = 15.0
_PAUSE_SECONDS = (0.2, 5.0)
_BUSY = frozenset({429, 500, 502, 503, 504})
_CONFLICT = 409
_UNKNOWN = 401
_SHOWN = 400
_CHUNK = 64 * 1024
_JSON, _MERGE = "application/json", "application/merge-patch+json"


class ClusterError(OSError):
    """The cluster does not do what it was asked for.

    Args:
        message: in its own words.
        status: of HTTP; 0 where it has not answered.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_gone(self) -> bool:
        """Whether there is no such object."""
        return self.status == 404

    @property
    def is_taken(self) -> bool:
        """Whether there is another object of that name."""
        return self.status == _CONFLICT

    @property
    def is_too_old(self) -> bool:
        """Whether what was asked for begins before what the cluster still knows."""
        return self.status == 410


class Ear:
    """Holds what is listened to, so that another thread can end it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: list[httpx2.Response] = []
        self._closed = False

    @contextlib.contextmanager
    def listening(self, answer: "httpx2.Response") -> Iterator[None]:
        """Hold an answer while it is listened to."""
        with self._lock:
            self._heard.append(answer)
            if self._closed:
                _break_off(answer)
        try:
            yield
        finally:
            with self._lock:
                self._heard.remove(answer)

    def close(self) -> None:
        """End what is listened to, now and from now on."""
        with self._lock:
            self._closed = True
            for answer in self._heard:
                _break_off(answer)


def _break_off(answer: "httpx2.Response") -> None:
    # To close it would not wake who reads of it.
    with contextlib.suppress(OSError, KeyError):
        answer.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class Cluster:
    """A namespace of a cluster.

    Args:
        namespace: its name; None for that of the service account, or of KUBECONFIG.
        proxy_from_environment: whether by the proxy that `https_proxy` and the like name.
    """

    def __init__(self, namespace: str | None, proxy_from_environment: bool = False) -> None:
        self._wanted = namespace
        self._proxy_from_environment = proxy_from_environment
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        self._is_old = False
        self._namespace = ""

    def _connected(self) -> "httpx2.Client":
        with self._lock:
            if self._client is None or self._is_old:
                try:
                    client = self._made()
                except (ConfigError, KeyError, OSError, ValueError) as error:
                    if self._client is None:
                        raise ClusterError(f"it is not known how the cluster is reached: {error}") from error
                else:
                    self._client = client
                self._is_old = False
            return self._client

    def _made(self) -> "httpx2.Client":
        config = KubeConfig.from_env().get()
        assert config is not None and config.user is not None  # noqa: S101, PT018 - narrows the types
        self._namespace = self._wanted or config.namespace
        timeout = httpx2.Timeout(_CALL_SECONDS)
        if self._proxy_from_environment:
            return client_adapter.Client(config, client_adapter.ConnectionParams(timeout=timeout))
        verify = client_adapter.verify_cluster(config.cluster, config.user, config.abs_file)
        transport = httpx2.HTTPTransport(verify=verify)
        client = client_adapter.Client(config, client_adapter.ConnectionParams(timeout=timeout, transport=transport))
        # Not when another takes its place: it may still be listened to.
        weakref.finalize(client, transport.close)
        return client

    def _renew(self, client: "httpx2.Client") -> None:
        """Have it read anew whom the cluster trusts, and whom we do: since the last time that may have been renewed."""
        with self._lock:
            self._is_old = self._is_old or self._client is client

    def _path(self, kind: str, name: str = "") -> str:
        self._connected()
        group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        return f"{group}/namespaces/{self._namespace}/{kind}" + (f"/{name}" if name else "")

    def get(self, kind: str, name: str, patience: float = PATIENCE_SECONDS) -> Object | None:
        """Return an object; None when there is none of that name.

        Args:
            kind: `jobs` or `pods`.
            name: of the object.
            patience: seconds for which to ask again.

        Raises:
            ClusterError: that is not known.
        """
        try:
            return self._ask("GET", self._path(kind, name), patience=patience)
        except ClusterError as error:
            if error.is_gone:
                return None
            raise

    def list(self, kind: str, labels: str, limit: int | None = None, patience: float = PATIENCE_SECONDS) -> Object:
        """Return the objects that have labels, and the version at which they were so.

        Raises:
            ClusterError: they are not known.
        """
        params = {"labelSelector": labels, **({"limit": str(limit)} if limit else {})}
        return self._ask("GET", self._path(kind), params=params, patience=patience)

    def create(self, kind: str, wanted: Object) -> Object:
        """Make an object; where one of that name is there already, an error says so.

        Raises:
            ClusterError: it cannot be made, or nobody knows whether it was.
        """
        return self._ask("POST", self._path(kind), body=wanted)

    def change(self, kind: str, name: str, change: Object, patience: float = PATIENCE_SECONDS) -> Object:
        """Change fields of an object.

        Raises:
            ClusterError: they cannot be changed.
        """
        return self._ask("PATCH", self._path(kind, name), body=change, patience=patience, again=(_CONFLICT,))

    def delete(self, kind: str, name: str, grace: int | None = None) -> None:
        """Have an object deleted, after all that belongs to it; one that is gone is no fault.

        Args:
            kind: `jobs` or `pods`.
            name: of the object.
            grace: seconds from TERM to KILL; that of the object when not given.

        Raises:
            ClusterError: it does not do so.
        """
        params = {"propagationPolicy": "Foreground", **({} if grace is None else {"gracePeriodSeconds": str(grace)})}
        try:
            self._ask("DELETE", self._path(kind, name), params=params, again=(_CONFLICT,))
        except ClusterError as error:
            if not error.is_gone:
                raise

    def watch(self, kind: str, labels: str, version: str, ear: Ear) -> Iterator[tuple[str, Object]]:
        """Yield what becomes of the objects that have labels, for a minute at most.

        Args:
            kind: `jobs` or `pods`.
            labels: that they have.
            version: after which.
            ear: by which it can be ended.

        Raises:
            ClusterError: it is broken off; `is_too_old` where what came after the version is not known any more.
        """
        params = {"labelSelector": labels, "watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        params["timeoutSeconds"] = str(WATCH_SECONDS)
        with self._streamed(self._path(kind), params, WATCH_SECONDS + _CALL_SECONDS, ear) as answer:
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ClusterError(str(event["object"].get("message")), int(event["object"].get("code", 0)))
                yield event["type"], event["object"]

    def log(self, pod: str, ear: Ear) -> Iterator[bytes]:
        """Yield what a pod's container says, from its beginning until it has ended.

        Args:
            pod: its name.
            ear: by which it can be ended.

        Raises:
            ClusterError: it is broken off.
        """
        with self._streamed(self._path("pods", pod) + "/log", {"follow": "true"}, None, ear) as answer:
            yield from answer.iter_bytes(_CHUNK)

    @contextlib.contextmanager
    def _streamed(
        self, path: str, params: Mapping[str, str], seconds: float | None, ear: Ear
    ) -> Iterator["httpx2.Response"]:
        client = self._connected()
        timeout = httpx2.Timeout(_CALL_SECONDS, read=seconds)
        try:
            with client.stream("GET", path, params=params, timeout=timeout) as answer:
                if answer.is_error:
                    answer.read()
                    raise _error(answer)
                with ear.listening(answer):
                    yield answer
        except (httpx2.HTTPError, ValueError) as error:
            raise ClusterError(f"the cluster has broken off: {error}") from error

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        params: Mapping[str, str] | None = None,
        patience: float = PATIENCE_SECONDS,
        again: tuple[int, ...] = (),
    ) -> Object:
        deadline, pause = time.monotonic() + patience, _PAUSE_SECONDS[0]
        refused = False
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": _MERGE if method == "PATCH" else _JSON}
        while True:
            told = 0.0
            client = self._connected()
            try:
                answer = client.request(method, path, content=content, params=params, headers=headers)
                if not answer.is_error:
                    found: Object = answer.json()
                    return found
                fault = _error(answer)
                if fault.status == _UNKNOWN and not refused:
                    refused = True
                    self._renew(client)
                elif fault.status not in _BUSY and fault.status not in again:
                    raise fault
                with contextlib.suppress(ValueError):
                    told = float(answer.headers.get("Retry-After", 0))
            except (httpx2.HTTPError, ValueError, ConfigError) as error:
                # Whether it was done is not known: each of our calls may be repeated.
                fault = ClusterError(f"the cluster does not answer: {type(error).__name__}: {error}")
                if isinstance(error, httpx2.ConnectError):
                    self._renew(client)
            wait = max(told, pause * random.uniform(0.5, 1.0))  # noqa: S311 - nobody is to guess it
            if time.monotonic() + wait > deadline:
                raise fault
            time.sleep(wait)
            pause = min(2 * pause, _PAUSE_SECONDS[1])


def _error(answer: "httpx2.Response") -> ClusterError:
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = answer.text.strip() or answer.reason_phrase
    return ClusterError(f"the cluster says {answer.status_code}: {message[:_SHOWN]}", answer.status_code)
