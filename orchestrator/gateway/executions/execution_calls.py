"""The calls of executions."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from orchestrator import protos as pb
from orchestrator.calls.call import Calls
from orchestrator.calls.refusals import Refusal, refusal
from orchestrator.core.errors import NotFoundError, OrchestratorError
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import executions, schemas, states
from orchestrator.executions.errors import WholeError
from orchestrator.executions.files.storage import Files
from orchestrator.executions.forms import execution_form, report_form
from orchestrator.executions.lists import listing
from orchestrator.executions.maas import STAND_IN, Maas
from orchestrator.executions.runtimes import implementations, runs
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.executions.templates import manifest, parameters
from orchestrator.gateway.executions import refused
from orchestrator.gateway.executions.answering import Answering, Data
from orchestrator.gateway.executions.answers import EXECUTIONS
from orchestrator.gateway.executions.edge import Path
from orchestrator.gateway.executions.parts import Parts
from orchestrator.gateway.executions.templates import Templates, UnreadError
from orchestrator.gateway.identity import Identity

_NO_ID = -1


class ExecutionCalls(Answering):
    """Answers the calls of executions; see `Answering`."""

    def __init__(self, calls: Calls, identity: Identity, settings: ExecutionSettings, files: Files) -> None:
        super().__init__(calls, identity, settings, files)
        self._templates = Templates(files)

    def paths(self) -> list[Path]:
        """Return the paths, and what is done at each."""
        one = rf"{EXECUTIONS}([^/]+)/"
        return [
            Path.of(EXECUTIONS, GET=self.list_executions, POST=self.create_execution),
            Path.of(one, GET=self.show_execution, DELETE=self.delete_execution),
            Path.of(rf"{one}download_external_data/", file=True, GET=self.download_external_data),
            Path.of(rf"{one}download_report_metadata/", file=True, GET=self.download_report_metadata),
            Path.of(rf"{one}download_user_vars/", file=True, GET=self.download_user_vars),
            Path.of(rf"{one}retrieve_data_partner_information/", GET=self.show_partner),
            Path.of(rf"{one}update_to_running/", PATCH=self.report_running),
            Path.of(rf"{one}update_to_failed/", PATCH=self.report_failed),
            Path.of(rf"{one}update_to_succeeded/", PATCH=self.report_succeeded),
        ]

    async def list_executions(self, request: Request) -> Response:
        """List executions."""
        answers, query = self.answers(request), request.query_params

        def use(transaction: Transaction) -> Iterator[bytes]:
            asked = listing.read(query, executions.SORTABLE, executions.FILTERS, {})
            count, page, rows = executions.page(transaction, asked)
            return answers.listing(EXECUTIONS, query.multi_items(), asked, count, page, map(answers.execution, rows))

        return await self.listed(request, "ListExecutions", use)

    async def create_execution(self, request: Request) -> Response:
        """Store an execution of a schema."""
        answers, partners = self.answers(request), self.settings.valid_data_partners
        debug = request.query_params.get("debug") == "true"
        async with self.received(request) as received:
            kept: list[pb.StoredFile] = []
            known: dict[tuple[int, int | None], pb.EngineValues] = {}
            if self.settings.validate_with_maas and (problem := await self._ask(request, received, known)):
                return problem
            unread: list[pb.StoredFile] = []

            def use(transaction: Transaction, brought: Data) -> pb.Execution:
                data = brought.read()
                name = execution_form.schema_of(data)
                schema = schemas.find(transaction, name, share=True)
                if schema is None:
                    raise execution_form.unknown(name)
                ask = _known(known) if self.settings.validate_with_maas else _stand_in
                new = execution_form.read(data, received.uploads, schema, partners, ask)
                new.message.debug, new.message.owner = debug, transaction.organization
                begin = implementations.of(schema, debug, self.settings)
                template = self._template(schema, unread) if begin else None
                if new.external_data:
                    self.keep(kept, new.external_data, new.message.external_data)
                if new.report_metadata:
                    self.keep(kept, new.report_metadata, new.message.report_metadata)
                for engine in new.message.engines:
                    self.keep(kept, new.user_vars[engine.descriptor_name], engine.user_vars)
                execution = executions.insert(transaction, new.message, new.partners)
                if begin and template:
                    told = parameters.of(execution, schema, self.settings)
                    begin(transaction, execution, manifest.make(template, told), self.settings)
                return execution

            while True:
                created = await self.created(request, "CreateExecution", received, use, kept, answers.execution)
                if not unread:
                    return created
                await asyncio.to_thread(self._templates.read, unread.pop())

    def _template(self, schema: pb.WorkflowSchema, unread: list[pb.StoredFile]) -> Mapping[str, Any]:
        """Return the template of a schema; where it is to be read first, note that in a list.

        Raises:
            UnreadError: it is.
            TemplateError: it is no template of a workflow.
        """
        unread.clear()
        try:
            return self._templates.of(schema.auxiliary_file)
        except UnreadError:
            unread.append(schema.auxiliary_file)
            raise

    async def _ask(
        self, request: Request, received: Parts, known: dict[tuple[int, int | None], pb.EngineValues]
    ) -> Response | None:
        """Ask MaaS for what a new execution names, with no transaction open; return what is wrong with it, if anything.

        Args:
            request: of the call.
            received: what it brought.
            known: is filled with what MaaS said.
        """
        found: list[tuple[Any, pb.WorkflowSchema]] = []

        def use(transaction: Transaction, brought: Data) -> None:
            data = brought.read()
            name = execution_form.schema_of(data)
            schema = schemas.find(transaction, name)
            if schema is None:
                raise execution_form.unknown(name)
            found[:] = [(data, schema)]

        answered = await self.with_data(request, "CheckExecution", received, use, lambda _: b"")
        if isinstance(answered, Refusal):
            return refused.answer(answered, self.identity.challenge)
        asked = Maas(self.settings.maas_api_hostname)

        def ask(version: int, model: int | None) -> pb.EngineValues:
            known[version, model] = asked.values(version, model)
            return known[version, model]

        data, schema = found[0]
        partners = self.settings.valid_data_partners
        try:
            await asyncio.to_thread(execution_form.read, data, received.uploads, schema, partners, ask)
        except OrchestratorError as error:
            return refused.answer(refusal("CheckExecution", error), self.identity.challenge)
        return None

    async def show_execution(self, request: Request, id_: str) -> Response:
        """Show an execution."""
        return await self.shown(request, "GetExecution", lambda transaction: executions.get(transaction, _id(id_)))

    async def delete_execution(self, request: Request, id_: str) -> Response:
        """Delete an execution."""

        def use(transaction: Transaction) -> list[pb.StoredFile]:
            runs.end(transaction, _id(id_), "its execution was deleted")
            gone = [executions.delete(transaction, _id(id_))]
            self.rights(transaction).check_deletion(gone)
            return list(executions.files_of(gone))

        return await self.deleted(request, "DeleteExecution", use)

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
            self.rights(transaction).check_part(execution, f"read {noun} of")
            executions.read(transaction, pb.ClinicalDataRead(execution=execution.id, file=part))
            file: pb.StoredFile = getattr(execution, part)
            return file

        return await self.sent(request, f"Download{part.title().replace('_', '')}", use)

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

        return await self.sent(request, "DownloadUserVars", use)

    async def show_partner(self, request: Request, id_: str) -> Response:
        """Show what was sent for a data partner, as it was."""
        name = request.query_params.get("data_partner")

        def use(transaction: Transaction) -> bytes:
            if name is None:
                raise WholeError("data_partner query parameter is missing")
            execution = executions.get(transaction, _id(id_))
            if not execution.partners:
                raise WholeError(f'"{execution.schema}" does not require data from data partners')
            self.rights(transaction).check_partner(name)
            document = executions.partner(transaction, execution, name)
            if document is None:
                raise WholeError(f"data_partner {name} is not taken part in the execution")
            return document

        return await self.answered(request, "GetDataPartnerInformation", use, bytes)

    async def report_running(self, request: Request, id_: str) -> Response:
        """Take note that an execution runs; the body is never looked at."""

        def use(transaction: Transaction) -> pb.Execution:
            self._check_report(transaction, id_)
            return executions.report(transaction, _id(id_), states.RUNNING)

        return await self.shown(request, "ReportRunning", use)

    async def report_failed(self, request: Request, id_: str) -> Response:
        """Take note that an execution has failed, and why; with `?cancel=true` end what is done for it, too."""
        cancel = request.query_params.get("cancel") == "true"
        async with self.received(request) as received:

            def use(transaction: Transaction, brought: Data) -> pb.Execution:
                message = report_form.failure(brought.read())
                self._check_report(transaction, id_)
                if cancel:
                    runs.end(transaction, _id(id_), message)
                return executions.report(transaction, _id(id_), states.FAILED, reason=message)

            return await self.reported(request, "ReportFailed", received, use)

    async def report_succeeded(self, request: Request, id_: str) -> Response:
        """Take note that an execution has succeeded, and of what it has made."""
        async with self.received(request) as received:

            def use(transaction: Transaction, brought: Data) -> pb.Execution:
                execution = executions.get(transaction, _id(id_))
                self.rights(transaction).check_part(execution, "report of")
                schema = schemas.find(transaction, execution.schema)
                if schema is None:
                    raise NotFoundError("Not found.")
                results = report_form.results(brought.read(), schema)
                return executions.report(transaction, execution.id, states.SUCCEEDED, results=results)

            return await self.reported(request, "ReportSucceeded", received, use)

    def _check_report(self, transaction: Transaction, id_: str) -> None:
        """Check that the caller may report of an execution.

        Raises:
            NotFoundError: there is none.
            PermissionDeniedError: it may not.
        """
        if not self.identity.open:
            self.rights(transaction).check_part(executions.get(transaction, _id(id_)), "report of")


def _stand_in(_: int, __: int | None) -> pb.EngineValues:
    return STAND_IN


def _known(found: Mapping[tuple[int, int | None], pb.EngineValues]) -> execution_form.Ask:
    return lambda version, model: found[version, model]


def _id(text: str) -> int:
    """Return an id as a number; one that no execution has where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else _NO_ID
