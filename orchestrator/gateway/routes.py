"""Which use case stands behind each route of the HTTP API, and how its request and its response are written."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.calls.admission import Receive
from orchestrator.calls.call import Calls, Operation
from orchestrator.calls.gate import Identify
from orchestrator.calls.refusals import Refusal
from orchestrator.calls.sizes import document_size
from orchestrator.compute import plans, tasks, work
from orchestrator.core.errors import BadRequestError
from orchestrator.engine.transaction import Transaction

Request = TypeVar("Request")
Response = TypeVar("Response")
Content = TypeVar("Content", bound=Message)

JSON = "application/json"
_MOST_TOLD = 200


@dataclass(frozen=True)
class Asked:
    """A request over HTTP, taken apart.

    Args:
        path: the values of the path's parameters.
        query: those of the query; of a name that is given more than once, the last.
        body: empty where the route takes none.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


class Served(Protocol):
    """A route, whatever its request and response are."""

    @property
    def method(self) -> str:
        """Of HTTP, as in `GET`."""

    @property
    def path(self) -> str:
        """With parameters in braces, as in `/v1/plans/{key}`."""

    @property
    def takes(self) -> str:
        """The media type of its body."""

    async def answer(
        self, calls: Calls, identify: Identify, receive: Receive, path: Mapping[str, str], query: Mapping[str, str]
    ) -> bytes | Refusal:
        """Answer a call; see `Calls.answer`.

        Args:
            calls: answers it.
            identify: lets the caller in.
            receive: receives the body.
            path: the values of the path's parameters.
            query: those of the query.
        """


@dataclass(frozen=True)
class Route(Generic[Request, Response]):
    """A route.

    Args:
        name: of its calls, in metrics and logs: that of the gRPC method which does the same, if there is one.
        method: of HTTP, as in `GET`.
        path: with parameters in braces, as in `/v1/plans/{key}`.
        read: from what was asked to the use case's request; raises BadRequestError or InvalidAssetError.
        use_case: what it does, in a transaction.
        write: from the use case's response to JSON.
        takes: the media type of the body, where the method has one; that it is said keeps away what a page of somebody
            else's makes a browser send.
    """

    name: str
    method: str
    path: str
    read: Callable[[Asked], Request]
    use_case: Callable[[Transaction, Request], Response]
    write: Callable[[Response], bytes]
    takes: str = JSON

    async def answer(
        self, calls: Calls, identify: Identify, receive: Receive, path: Mapping[str, str], query: Mapping[str, str]
    ) -> bytes | Refusal:
        """Answer a call."""

        def read(body: bytes) -> Request:
            return self.read(Asked(path, query, body))

        return await calls.answer(
            Operation(self.name, read, document_size, self.use_case, self.write), identify, receive
        )


def parsed(body: bytes, kind: type[Content]) -> Content:
    """Return the message of the contract that a body of JSON is.

    Raises:
        BadRequestError: it is none, or has a field that the message has not.
    """
    try:
        return Parse(body, kind())
    except (ParseError, ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is not a {kind.DESCRIPTOR.name} in JSON: {str(error)[:_MOST_TOLD]}") from error


def message(response: Message) -> bytes:
    """Return a message of the contract as JSON: its fields by the names that the contract gives them."""
    return MessageToJson(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
    ).encode()


def _plan(asked: Asked) -> pb.GetComputePlanParam:
    return pb.GetComputePlanParam(key=asked.path["key"])


def _task(asked: Asked) -> pb.GetTaskParam:
    return pb.GetTaskParam(key=asked.path["key"])


def _work(found: work.Work) -> bytes:
    # One number for a scaler that reads but one: whoever runs something must not be ended.
    return json.dumps({"to_do": found.to_do, "doing": found.doing, "open": found.to_do + found.doing}).encode()


ROUTES: Sequence[Served] = (
    Route("GetWork", "GET", "/v1/work", lambda _: None, work.of_caller, _work),
    Route("GetPlan", "GET", "/v1/plans/{key}", _plan, plans.get, message),
    Route("GetTask", "GET", "/v1/tasks/{key}", _task, tasks.show, message),
)
