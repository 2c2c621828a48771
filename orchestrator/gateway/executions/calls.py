"""The calls of executions: from requests to use cases, and back."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path as FilePath
from typing import Any, BinaryIO, TypeVar
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from orchestrator import protos as pb
from orchestrator.calls.call import Calls, Operation
from orchestrator.calls.refusals import Refusal
from orchestrator.calls.sizes import document_size
from orchestrator.core.errors import NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import execution_form, executions, listing, report_form, schema_form, schemas, states
from orchestrator.executions.errors import WholeError
from orchestrator.executions.files import Files
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.gateway.executions import parts, ranges, refused
from orchestrator.gateway.executions.answers import EXECUTIONS, SCHEMAS, Answers, body
from orchestrator.gateway.executions.edge import Path
from orchestrator.gateway.executions.parts import Parts
from orchestrator.gateway.identity import Identity

Found = TypeVar("Found")

_JSON, _FILE = "application/json", "application/octet-stream"
_CHUNK = 256 * 1024
_NO_ID = -1
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")


class ExecutionCalls:
    """Answers the calls of executions.

    Args:
        calls: lets them in and runs their use cases.
        identity: says who calls.
        settings: of executions.
        files: where files are kept.
    """

    def __init__(self, calls: Calls, identity: Identity, settings: ExecutionSettings, files: Files) -> None:
        self._calls = calls
        self._identity = identity
        self._settings = settings
        self._files = files

    def paths(self) -> list[Path]:
        """Return the paths, and what is done at each."""
        schema, execution = rf"{SCHEMAS}([^/]+)/", rf"{EXECUTIONS}([^/]+)/"

        def path(pattern: str, *, file: bool = False, **handlers: Any) -> Path:
            return Path(re.compile(pattern), handlers, file)

        return [
            path("/api/", GET=self.root),
            path(SCHEMAS, GET=self.list_schemas, POST=self.create_schema),
            path(schema, GET=self.show_schema, DELETE=self.delete_schema),
            path(rf"{schema}download_auxiliary_file/", file=True, GET=self.download_auxiliary_file),
            path(EXECUTIONS, GET=self.list_executions, POST=self.create_execution),
            path(execution, GET=self.show_execution, DELETE=self.delete_execution),
            path(rf"{execution}download_external_data/", file=True, GET=self.download_external_data),
            path(rf"{execution}download_report_metadata/", file=True, GET=self.download_report_metadata),
            path(rf"{execution}download_user_vars/", file=True, GET=self.download_user_vars),
            path(rf"{execution}retrieve_data_partner_information/", GET=self.show_partner),
            path(rf"{execution}update_to_running/", PATCH=self.report_running),
            path(rf"{execution}update_to_failed/", PATCH=self.report_failed),
            path(rf"{execution}update_to_succeeded/", PATCH=self.report_succeeded),
        ]

    async def root(self, request: Request) -> Response:
        """Tell where the lists are."""
        return Response(body(self._answers(request).root()), media_type=_JSON)

    async def list_schemas(self, request: Request) -> Response:
        """List schemas."""
        answers, query = self._answers(request), request.query_params

        def use(transaction: Transaction) -> dict[str, Any]:
            asked = listing.read(query, schemas.SORTABLE, schemas.FILTERS, schemas.CHOICES)
            count, page, rows = schemas.page(transaction, asked)
            return answers.listing(SCHEMAS, query.multi_items(), asked, count, page, [*map(answers.schema, rows)])

        return await self._answered(request, "ListSchemas", use, body)

    async def create_schema(self, request: Request) -> Response:
        """Store a schema."""
        answers, functionalities = self._answers(request), self._settings.valid_ai_engine_functionalities
        async with self._received(request) as received:
            kept: list[pb.StoredFile] = []

            def use(transaction: Transaction, brought: _Data) -> pb.WorkflowSchema:
                data = brought.read()
                name = schema_form.name_of(data)
                taken = bool(name) and schemas.find(transaction, name) is not None
                new = schema_form.read(data, received.uploads, functionalities, taken)
                self._keep(kept, new.file, new.message.auxiliary_file)
                schemas.insert(transaction, new.message)
                return new.message

            return await self._created(request, "CreateSchema", received, use, kept, answers.schema)

    async def show_schema(self, request: Request, name: str) -> Response:
        """Show a schema."""
        answers = self._answers(request)
        write = lambda schema: body(answers.schema(schema))  # noqa: E731 - a line
        return await self._answered(request, "GetSchema", lambda transaction: schemas.get(transaction, name), write)

    async def delete_schema(self, request: Request, name: str) -> Response:
        """Delete a schema and its executions."""

        def use(transaction: Transaction) -> list[pb.StoredFile]:
            schema = schemas.delete(transaction, name)
            gone = executions.delete_of_schema(transaction, name)
            return [schema.auxiliary_file, *executions.files_of(gone)]

        return await self._deleted(request, "DeleteSchema", use)

    async def download_auxiliary_file(self, request: Request, name: str) -> Response:
        """Send the template of a schema."""

        def use(transaction: Transaction) -> pb.StoredFile:
            return schemas.get(transaction, name).auxiliary_file

        return await self._sent(request, "DownloadAuxiliaryFile", use)

    async def list_executions(self, request: Request) -> Response:
        """List executions."""
        answers, query = self._answers(request), request.query_params

        def use(transaction: Transaction) -> dict[str, Any]:
            asked = listing.read(query, executions.SORTABLE, executions.FILTERS, {})
            count, page, rows = executions.page(transaction, asked)
            return answers.listing(EXECUTIONS, query.multi_items(), asked, count, page, [*map(answers.execution, rows)])

        return await self._answered(request, "ListExecutions", use, body)

    async def create_execution(self, request: Request) -> Response:
        """Store an execution of a schema."""
        answers, partners = self._answers(request), self._settings.valid_data_partners
        debug = request.query_params.get("debug") == "true"
        async with self._received(request) as received:
            kept: list[pb.StoredFile] = []

            def use(transaction: Transaction, brought: _Data) -> pb.Execution:
                data = brought.read()
                name = execution_form.schema_of(data)
                schema = schemas.find(transaction, name, share=True)
                if schema is None:
                    raise execution_form.unknown(name)
                new = execution_form.read(data, received.uploads, schema, partners)
                new.message.debug = debug
                if new.external_data:
                    self._keep(kept, new.external_data, new.message.external_data)
                if new.report_metadata:
                    self._keep(kept, new.report_metadata, new.message.report_metadata)
                for engine in new.message.engines:
                    self._keep(kept, new.user_vars[engine.descriptor_name], engine.user_vars)
                return executions.insert(transaction, new.message, new.partners)

            return await self._created(request, "CreateExecution", received, use, kept, answers.execution)

    async def show_execution(self, request: Request, id_: str) -> Response:
        """Show an execution."""
        return await self._shown(request, "GetExecution", lambda transaction: executions.get(transaction, _id(id_)))

    async def delete_execution(self, request: Request, id_: str) -> Response:
        """Delete an execution."""

        def use(transaction: Transaction) -> list[pb.StoredFile]:
            return list(executions.files_of([executions.delete(transaction, _id(id_))]))

        return await self._deleted(request, "DeleteExecution", use)

    async def download_external_data(self, request: Request, id_: str) -> Response:
        """Send the external data of an execution."""
        return await self._download(request, id_, "external_data", "external data")

    async def download_report_metadata(self, request: Request, id_: str) -> Response:
        """Send the report metadata of an execution."""
        return await self._download(request, id_, "report_metadata", "report metadata")

    async def _download(self, request: Request, id_: str, part: str, noun: str) -> Response:
        def use(transaction: Transaction) -> pb.StoredFile:
            execution = executions.get(transaction, _id(id_))
            if not execution.HasField(part):  # type: ignore[arg-type]
                raise WholeError(f'"{execution.schema}" does not require {noun}')
            executions.read(transaction, pb.ClinicalDataRead(execution=execution.id, file=part))
            file: pb.StoredFile = getattr(execution, part)
            return file

        return await self._sent(request, f"Download{part.title().replace('_', '')}", use)

    async def download_user_vars(self, request: Request, id_: str) -> Response:
        """Send the variables of an engine of an execution."""
        descriptor = request.query_params.get("descriptor")

        def use(transaction: Transaction) -> pb.StoredFile:
            if descriptor is None:
                raise WholeError("descriptor query parameter is missing")
            engines = executions.get(transaction, _id(id_)).engines
            found = next((each.user_vars for each in engines if each.descriptor_name == descriptor), None)
            if found is None:
                raise WholeError("does not exist an AI Engine in the schema with that descriptor")
            return found

        return await self._sent(request, "DownloadUserVars", use)

    async def show_partner(self, request: Request, id_: str) -> Response:
        """Show what was sent for a data partner, as it was."""
        name = request.query_params.get("data_partner")

        def use(transaction: Transaction) -> bytes:
            if name is None:
                raise WholeError("data_partner query parameter is missing")
            execution = executions.get(transaction, _id(id_))
            if not execution.partners:
                raise WholeError(f'"{execution.schema}" does not require data from data partners')
            document = executions.partner(transaction, execution, name)
            if document is None:
                raise WholeError(f"data_partner {name} is not taken part in the execution")
            return document

        return await self._answered(request, "GetDataPartnerInformation", use, bytes)

    async def report_running(self, request: Request, id_: str) -> Response:
        """Take note that an execution runs; the body is never looked at."""

        def use(transaction: Transaction) -> pb.Execution:
            return executions.report(transaction, _id(id_), states.RUNNING)

        return await self._shown(request, "ReportRunning", use)

    async def report_failed(self, request: Request, id_: str) -> Response:
        """Take note that an execution has failed, and why."""
        async with self._received(request) as received:

            def use(transaction: Transaction, brought: _Data) -> pb.Execution:
                message = report_form.failure(brought.read())
                return executions.report(transaction, _id(id_), states.FAILED, reason=message)

            return await self._reported(request, "ReportFailed", received, use)

    async def report_succeeded(self, request: Request, id_: str) -> Response:
        """Take note that an execution has succeeded, and of what it has made."""
        async with self._received(request) as received:

            def use(transaction: Transaction, brought: _Data) -> pb.Execution:
                execution = executions.get(transaction, _id(id_))
                schema = schemas.find(transaction, execution.schema)
                if schema is None:
                    raise NotFoundError("Not found.")
                results = report_form.results(brought.read(), schema)
                return executions.report(transaction, execution.id, states.SUCCEEDED, results=results)

            return await self._reported(request, "ReportSucceeded", received, use)

    def _answers(self, request: Request) -> Answers:
        host = request.headers.get("host", "")
        return Answers(host, self._settings.maas_api_hostname, self._settings.zone)

    @contextlib.asynccontextmanager
    async def _received(self, request: Request) -> AsyncIterator[Parts]:
        # Who may not call may not fill the disk either.
        await self._identity.identify(request)
        limit = self._settings.execution_data_limit
        async with parts.received(request, self._files.staging, limit) as received:
            yield received

    def _keep(self, kept: list[pb.StoredFile], upload: Any, place: pb.StoredFile) -> None:
        place.CopyFrom(self._files.keep(upload))
        kept.append(place)

    async def _answered(
        self,
        request: Request,
        name: str,
        use: Callable[[Transaction], Found],
        write: Callable[[Found], bytes],
    ) -> Response:
        operation = Operation(name, bytes, len, lambda transaction, _: use(transaction), write)
        answered = await self._calls.answer(operation, partial(self._identity.identify, request), _nothing)
        return self._refused(answered) or Response(answered, media_type=_JSON)

    async def _shown(self, request: Request, name: str, use: Callable[[Transaction], pb.Execution]) -> Response:
        answers = self._answers(request)
        return await self._answered(request, name, use, lambda execution: body(answers.execution(execution)))

    async def _with_data(
        self,
        request: Request,
        name: str,
        received: Parts,
        use: "Callable[[Transaction, _Data], Found]",
        write: Callable[[Found], bytes],
    ) -> bytes | Refusal:
        """Run a use case that is given what the part `data` says, which is read when there is room for it."""

        async def receive() -> bytes:
            return await asyncio.to_thread(received.data.read_bytes) if received.data else b""

        operation = Operation(
            name,
            lambda content: content,
            document_size,
            lambda transaction, content: use(transaction, _Data(content, received.problem)),
            write,
        )
        return await self._calls.answer(operation, partial(self._identity.identify, request), receive)

    async def _created(
        self,
        request: Request,
        name: str,
        received: Parts,
        use: "Callable[[Transaction, _Data], Found]",
        kept: list[pb.StoredFile],
        show: Callable[[Found], dict[str, Any]],
    ) -> Response:
        shown: list[dict[str, Any]] = []

        def write(created: Found) -> bytes:
            shown.append(show(created))
            return body(shown[0])

        def once(transaction: Transaction, data: _Data) -> Found:
            # A transaction that is run again keeps its files anew.
            self._files.remove(_keys(kept))
            kept.clear()
            return use(transaction, data)

        answered = await self._with_data(request, name, received, once, write)
        if isinstance(answered, Refusal):
            await asyncio.to_thread(self._files.remove, _keys(kept))
            return refused.answer(answered, self._identity.challenge)
        return Response(answered, 201, {"Location": shown[0]["url"]}, media_type=_JSON)

    async def _reported(
        self, request: Request, name: str, received: Parts, use: "Callable[[Transaction, _Data], pb.Execution]"
    ) -> Response:
        answers = self._answers(request)
        write = lambda execution: body(answers.execution(execution))  # noqa: E731 - a line
        answered = await self._with_data(request, name, received, use, write)
        return self._refused(answered) or Response(answered, media_type=_JSON)

    async def _deleted(
        self, request: Request, name: str, use: Callable[[Transaction], Iterable[pb.StoredFile]]
    ) -> Response:
        gone: list[pb.StoredFile] = []

        def write(files: Iterable[pb.StoredFile]) -> bytes:
            gone.extend(files)
            return b""

        answered = await self._answered(request, name, use, write)
        if answered.status_code != 200:
            return answered
        await asyncio.to_thread(self._files.remove, _keys(gone))
        return Response(None, 204)

    async def _sent(self, request: Request, name: str, use: Callable[[Transaction], pb.StoredFile]) -> Response:
        answered = await self._answered(request, name, use, lambda file: file.SerializeToString())
        if answered.status_code != 200:
            return answered
        file = pb.StoredFile.FromString(bytes(answered.body))
        headers = {"Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="{_name(file)}"'}
        try:
            part = ranges.read(request.headers.get("range"), file.size)
        except ranges.UnsatisfiableError:
            return refused.detail(416, "The range begins after the end.", {"Content-Range": f"bytes */{file.size}"})
        begin, end = part or (0, file.size)
        headers["Content-Length"] = str(end - begin)
        if part:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{file.size}"
        status = 206 if part else 200
        if request.method == "HEAD":
            return Response(None, status, headers, media_type=_FILE)
        opened = await asyncio.to_thread(self._files.open, file)
        return StreamingResponse(_content(opened, begin, end), status, headers, media_type=_FILE)

    def _refused(self, answered: bytes | Refusal) -> Response | None:
        return refused.answer(answered, self._identity.challenge) if isinstance(answered, Refusal) else None


class _Data:
    """What the part `data` says, read when a use case asks for it."""

    def __init__(self, content: bytes, problem: str | None) -> None:
        self._content = content
        self._problem = problem

    def read(self) -> Any:
        return parts.parse(self._content, self._problem)


def _content(opened: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    """Yield a part of a file, and close it."""
    with opened:
        opened.seek(begin)
        left = end - begin
        while left > 0 and (chunk := opened.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk


async def _nothing() -> bytes:
    return b""


def _keys(files: Iterable[pb.StoredFile]) -> list[UUID]:
    return [UUID(file.key) for file in files]


def _id(text: str) -> int:
    """Return an id as a number; one that no execution has where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else _NO_ID


def _name(file: pb.StoredFile) -> str:
    suffix = FilePath(file.name).suffix
    return f"{file.key}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
