"""The templates of schemas, read before the transaction that needs them."""

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError
from orchestrator.executions.files.storage import Files
from orchestrator.executions.templates import template
from orchestrator.executions.templates.template import TemplateError

_MOST = 32


class UnreadError(BadRequestError):
    """Nobody has read this file lately: it is read, and the call made again.

    Args:
        file: of a schema.
    """

    def __init__(self, file: pb.StoredFile) -> None:
        super().__init__(f"the template {file.key} is to be read first")


class Templates:
    """Those that were read last; a file never changes.

    Args:
        files: where they are.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._read: OrderedDict[str, Mapping[str, Any] | TemplateError] = OrderedDict()
        self._lock = Lock()

    def of(self, file: pb.StoredFile) -> Mapping[str, Any]:
        """Return a template that was read.

        Raises:
            UnreadError: it was not.
            TemplateError: it is no template of a workflow.
        """
        with self._lock:
            found = self._read.get(file.key)
            if found is None:
                raise UnreadError(file)
            self._read.move_to_end(file.key)
        if isinstance(found, TemplateError):
            # A new one: what was raised bears where that was.
            raise type(found)(found.what)
        return found

    def read(self, file: pb.StoredFile) -> None:
        """Read a template.

        Raises:
            OSError: its file cannot be read.
        """
        with self._files.open(file) as opened:
            content = opened.read(template.LARGEST + 1)
        found: Mapping[str, Any] | TemplateError
        try:
            found = template.load(content)
        except TemplateError as error:
            found = error
        with self._lock:
            self._read[file.key] = found
            while len(self._read) > _MOST:
                self._read.popitem(last=False)
