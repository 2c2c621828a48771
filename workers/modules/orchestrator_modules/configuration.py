"""Configuration requests: one at a time, in a thread beside the tasks'."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

from orchestrator_modules import failures
from orchestrator_modules.enums import ErrorCode
from orchestrator_modules.frames import Request, Response
from orchestrator_modules.types import RequestType, ResponseType


class Answering:
    """Calls the callback for requests.

    Args:
        number: of the module's kind.
        callback: called with a request and a blank answer.
        answered: called when there is an answer.
    """

    def __init__(self, number: int, callback: Callable[[Any, Any], object], answered: Callable[[], None]) -> None:
        self._number = number
        self._callback = callback
        self._answered = answered
        self._asked: SimpleQueue[Request] = SimpleQueue()
        self._answers: deque[Response] = deque()
        self._thread: threading.Thread | None = None

    def ask(self, request: Request) -> None:
        """Have a request answered, after those before it."""
        self._asked.put(request)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="configuration", daemon=True)
            self._thread.start()

    def answers(self) -> Iterator[Response]:
        """Yield the answers that nobody has had yet."""
        while self._answers:
            yield self._answers.popleft()

    def _run(self) -> None:
        while True:
            request = self._asked.get()
            self._answers.append(Response(request.number, self._answer(RequestType.of(request.request)).members()))
            self._answered()

    def _answer(self, request: Any) -> Any:
        answer = ResponseType()
        try:
            self._callback(RequestType(request), answer)
        except BaseException as error:  # not even SystemExit ends the node
            answer = ResponseType()
            answer.success(False)
            answer.err_code(ErrorCode.INTERNAL_ERROR)
            answer.configuration(json.dumps({"error": failures.told(error)}, ensure_ascii=False))
        if "success" not in answer.written:
            answer.success(bool(answer.configuration()))
        answer.node_id(self._number)
        answer.transaction_id(request.transaction_id())
        return answer
