"""The calls of schemas."""

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import executions, schemas
from orchestrator.executions.files.uploads import Upload
from orchestrator.executions.forms import schema_form
from orchestrator.executions.graph import workflow
from orchestrator.executions.lists import listing
from orchestrator.executions.runtimes import runs
from orchestrator.executions.templates import template
from orchestrator.gateway.executions.answering import Answering, Data
from orchestrator.gateway.executions.answers import SCHEMAS, body
from orchestrator.gateway.executions.edge import Path

_JSON = "application/json"


class SchemaCalls(Answering):
    """Answers the calls of schemas."""

    def paths(self) -> list[Path]:
        """Return the paths, and what is done at each."""
        one = rf"{SCHEMAS}([^/]+)/"
        return [
            Path.of("/api/", GET=self.root),
            Path.of(SCHEMAS, GET=self.list_schemas, POST=self.create_schema),
            Path.of(one, GET=self.show_schema, DELETE=self.delete_schema),
            Path.of(rf"{one}download_auxiliary_file/", file=True, GET=self.download_auxiliary_file),
        ]

    async def root(self, request: Request) -> Response:
        """Tell where the lists are."""
        return Response(body(self.answers(request).root()), media_type=_JSON)

    async def list_schemas(self, request: Request) -> Response:
        """List schemas."""
        answers, query = self.answers(request), request.query_params

        def use(transaction: Transaction) -> Iterator[bytes]:
            asked = listing.read(query, schemas.SORTABLE, schemas.FILTERS, schemas.CHOICES)
            count, page, rows = schemas.page(transaction, asked)
            return answers.listing(SCHEMAS, query.multi_items(), asked, count, page, map(answers.schema, rows))

        return await self.listed(request, "ListSchemas", use)

    async def create_schema(self, request: Request) -> Response:
        """Store a schema."""
        answers, functionalities = self.answers(request), self.settings.valid_ai_engine_functionalities
        async with self.received(request) as received:
            kept: list[pb.StoredFile] = []

            def use(transaction: Transaction, brought: Data) -> pb.WorkflowSchema:
                data = brought.read()
                name = schema_form.name_of(data)
                taken = bool(name) and schemas.find(transaction, name) is not None
                new = schema_form.read(data, received.uploads, functionalities, taken)
                if new.message.implementation == runs.TASKS:
                    _check(new.file)
                new.message.owner = transaction.organization
                self.keep(kept, new.file, new.message.auxiliary_file)
                schemas.insert(transaction, new.message)
                return new.message

            return await self.created(request, "CreateSchema", received, use, kept, answers.schema)

    async def show_schema(self, request: Request, name: str) -> Response:
        """Show a schema."""
        answers = self.answers(request)
        write = lambda schema: body(answers.schema(schema))  # noqa: E731 - a line
        return await self.answered(request, "GetSchema", lambda transaction: schemas.get(transaction, name), write)

    async def delete_schema(self, request: Request, name: str) -> Response:
        """Delete a schema and its executions."""

        def use(transaction: Transaction) -> list[pb.StoredFile]:
            schema = schemas.delete(transaction, name)
            rights = self.rights(transaction)
            rights.check_schema(schema)
            runs.end_of_schema(transaction, name, "its schema was deleted")
            gone = executions.delete_of_schema(transaction, name)
            rights.check_deletion(gone)
            return [schema.auxiliary_file, *executions.files_of(gone)]

        return await self.deleted(request, "DeleteSchema", use)

    async def download_auxiliary_file(self, request: Request, name: str) -> Response:
        """Send the template of a schema."""

        def use(transaction: Transaction) -> pb.StoredFile:
            return schemas.get(transaction, name).auxiliary_file

        return await self.sent(request, "DownloadAuxiliaryFile", use)


def _check(file: Upload) -> None:
    """Check that a template can be run without Argo, as far as that is known without an execution.

    Raises:
        WholeError: it cannot.
    """
    with file.path.open("rb") as opened:
        workflow.read(template.load(opened.read(template.LARGEST + 1)))
