"""The move: schemas first, then executions, each with its files in a transaction of its own. It can be repeated."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from itertools import islice
from typing import Any
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError, ConflictError
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.executions.files.storage import Files
from orchestrator.executions.moving import arrivals, documents
from orchestrator.executions.moving.source import EXECUTIONS, SCHEMAS, Source, UnreadableError, at

_BATCH = 100


@dataclass
class Moved:
    """What a move has done so far.

    Args:
        schemas: that came.
        executions: that came.
        updated: executions that came earlier, and have gone on there since.
        there: schemas and executions that came earlier.
        files: that came.
        size: of these, in bytes.
        left: what could not be read or kept, and why.
    """

    schemas: int = 0
    executions: int = 0
    updated: int = 0
    there: int = 0
    files: int = 0
    size: int = 0
    left: list[str] = field(default_factory=list)


class Move:
    """Moves all of another service's schemas and executions here.

    Args:
        source: the other service.
        database: of this one.
        files: of this one.
        organization: whose runtimes see to what comes.
        channel: in which it is kept.
        incomplete: whether an execution comes too whose files, or what its data partners were sent, cannot be read.
        tell: is called after each schema and execution.
    """

    def __init__(
        self,
        source: Source,
        database: Database,
        files: Files,
        organization: str,
        channel: str,
        *,
        incomplete: bool = False,
        tell: Callable[[Moved], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._database = database
        self._files = files
        self._caller = (organization, channel)
        self._incomplete = incomplete
        self._tell = tell
        self.moved = Moved()

    def run(self) -> Moved:
        """Move what is not here yet, and the states of what is.

        Raises:
            AwayError: the other service does not answer any more; what came stays.
            UnavailableError: the database does not answer.
            OSError: a file cannot be kept.
        """
        for batch in self._batches(SCHEMAS):
            self._schemas(batch)
        for batch in self._batches(EXECUTIONS):
            self._executions(batch)
        return self.moved

    def _batches(self, path: str) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a list in batches; note those that cannot be read."""
        rows = self._source.rows(path)
        while batch := list(islice(rows, _BATCH)):
            self.moved.left += [str(row) for row in batch if isinstance(row, UnreadableError)]
            yield [row for row in batch if not isinstance(row, UnreadableError)]

    def _schemas(self, shown: list[dict[str, Any]]) -> None:
        read = [found for each in shown if (found := self._read(documents.schema, each, f"schema {each.get('name')}"))]
        names = [schema.name for schema in read]
        known = self._database.run(*self._caller, lambda transaction: arrivals.known_schemas(transaction, names))
        for schema in read:
            created_at = known.get(schema.name)
            if created_at is None:
                self._schema(schema)
            elif created_at == schema.created_at.ToDatetime(UTC):
                self.moved.there += 1
            else:
                self._leave(f"schema {schema.name}", "another schema has its name here")
            self._tell(self.moved)

    def _schema(self, schema: pb.WorkflowSchema) -> None:
        what = f"schema {schema.name}"
        with self._kept() as kept:
            try:
                self._download(kept, schema.auxiliary_file, at(SCHEMAS, schema.name, "download_auxiliary_file"))
            except UnreadableError as error:
                self._leave(what, f"its file: {error}")
                return
            if self._write(what, lambda transaction: arrivals.schema(transaction, schema), "its name is taken here"):
                self._keep(kept)
                self.moved.schemas += 1

    def _executions(self, shown: list[dict[str, Any]]) -> None:
        read = [
            (found, each)
            for each in shown
            if (found := self._read(documents.execution, each, f"execution {each.get('id')}"))
        ]
        if not read:
            return
        ids = [execution.id for execution, _ in read]
        known = self._database.run(*self._caller, lambda transaction: arrivals.known_executions(transaction, ids))
        # Executions that are started here meanwhile get none of the ids that come.
        self._database.run(*self._caller, lambda transaction: arrivals.go_on_after(transaction, max(ids)))
        for execution, each in read:
            if execution.id not in known:
                self._execution(execution, each)
            elif known[execution.id] != execution.created_at.ToDatetime(UTC):
                self._leave(f"execution {execution.id}", "another execution has its id here")
            elif self._database.run(*self._caller, lambda transaction, now=execution: arrivals.move(transaction, now)):  # type: ignore[misc]
                self.moved.updated += 1
            else:
                self.moved.there += 1
            self._tell(self.moved)

    def _execution(self, execution: pb.Execution, shown: dict[str, Any]) -> None:
        what = f"execution {execution.id}"
        with self._kept() as kept:
            sent: dict[str, Any] = {}
            try:
                self._partners(execution, shown, sent)
                self._files_of(execution, shown, kept)
            except UnreadableError as error:
                self._leave(what, str(error))
                return
            why = f"its schema {execution.schema} is not here, or its id is taken"
            if self._write(what, lambda transaction: arrivals.execution(transaction, execution, sent), why):
                self._keep(kept)
                self.moved.executions += 1

    def _write(self, what: str, write: Callable[[Transaction], bool], otherwise: str) -> bool:
        """Write rows in a transaction of their own; say whether they are kept, and note why where they are not."""
        try:
            if self._database.run(*self._caller, write):
                return True
            self._leave(what, otherwise)
        except (BadRequestError, ConflictError) as error:
            self._leave(what, str(error))
        return False

    def _partners(self, execution: pb.Execution, shown: dict[str, Any], sent: dict[str, Any]) -> None:
        """Read what was sent for each data partner."""
        path = at(EXECUTIONS, execution.id, "retrieve_data_partner_information")
        for name in documents.partners(shown):
            document: dict[str, Any] = {}
            with self._partly(execution, f"what was sent for {name}"):
                document = self._source.document(path, data_partner=name)
                documents.check_document(document)
                sent[name] = document
            execution.partners.append(documents.partner(name, documents.patients(shown, name), document))

    def _files_of(self, execution: pb.Execution, shown: dict[str, Any], kept: list[pb.StoredFile]) -> None:
        for name in ("external_data", "report_metadata"):
            if shown["input_elements"].get(name):
                with self._partly(execution, f"its {name}"):
                    path = at(EXECUTIONS, execution.id, f"download_{name}")
                    self._download(kept, getattr(execution, name), path)
        for engine in execution.engines:
            with self._partly(execution, f"the variables of {engine.descriptor_name}"):
                path = at(EXECUTIONS, execution.id, "download_user_vars")
                self._download(kept, engine.user_vars, path, descriptor=engine.descriptor_name)

    @contextmanager
    def _partly(self, execution: pb.Execution, part: str) -> Iterator[None]:
        """Go on without a part that cannot be read, if that is wanted.

        Raises:
            UnreadableError: it is not wanted; it says which part.
        """
        try:
            yield
        except UnreadableError as error:
            if not self._incomplete:
                raise UnreadableError(f"{part}: {error}") from error
            self._leave(f"execution {execution.id}", f"came without {part}: {error}")

    def _download(self, kept: list[pb.StoredFile], place: pb.StoredFile, path: str, **query: Any) -> None:
        with self._source.download(path, self._files.staging, **query) as upload:
            file = self._files.keep(upload)
            kept.append(file)
            place.CopyFrom(file)

    @contextmanager
    def _kept(self) -> Iterator[list[pb.StoredFile]]:
        """Collect files, which are removed unless they are all taken out of the list."""
        kept: list[pb.StoredFile] = []
        with ExitStack() as ending:
            ending.callback(lambda: self._files.remove([UUID(file.key) for file in kept]))
            yield kept

    def _keep(self, kept: list[pb.StoredFile]) -> None:
        self.moved.files += len(kept)
        self.moved.size += sum(file.size for file in kept)
        kept.clear()

    def _read(self, read: Callable[[dict[str, Any]], Any], shown: dict[str, Any], what: str) -> Any:
        """Return what is shown as a message, None where it cannot be read."""
        try:
            return read(shown)
        except UnreadableError as error:
            self._leave(what, str(error))
            return None

    def _leave(self, what: str, why: str) -> None:
        self.moved.left.append(f"{what}: {why}")
