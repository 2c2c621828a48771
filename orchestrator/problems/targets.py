"""Whom a command is for."""

from dataclasses import dataclass

from orchestrator.core.errors import BadRequestError, NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, modules

ORCHESTRATOR = "ORCHESTRATOR"
"""The target of what a command does to a task."""

_ALL = ("ALL", str(graph.ALL))


@dataclass(frozen=True)
class Target:
    """One that a command is for.

    Args:
        kind: of modules, None for the orchestrator.
        name: of one module, None for the first of its kind that comes.
    """

    kind: int | None
    name: str | None = None

    @property
    def node(self) -> str:
        """What people call it."""
        if self.kind is None:
            return ORCHESTRATOR
        kind = graph.KINDS[self.kind].name
        return kind if self.name is None else f"{kind}/{self.name}"


@dataclass(frozen=True)
class Wanted:
    """What a command names.

    Args:
        kinds: the kinds, in their order.
        name: of one module, None for all of the kinds.
    """

    kinds: tuple[int, ...]
    name: str | None = None


def canonical(text: str) -> str:
    """Return how a `target_node` is kept, whichever way it was written; one that names nothing stays as it is."""
    if text.upper() in _ALL:
        return _ALL[0]
    kind_text, slash, name = text.partition("/")
    kind = graph.named(kind_text.upper())
    return text if kind is None else f"{kind.name}{slash}{name}"


def read(transaction: Transaction, deployment: str, text: str) -> Wanted:
    """Return what a `target_node` names.

    Raises:
        BadRequestError: it is empty.
        NotFoundError: there is no such kind, or no such module.
    """
    if not text:
        raise BadRequestError('target_node: a kind, as in "ML_MODEL", a module, as in "ML_MODEL/gpu-7", or "ALL"')
    if text.upper() in _ALL:
        return Wanted(tuple(sorted(graph.KINDS)))
    kind_text, slash, name = text.partition("/")
    kind = graph.named(kind_text.upper())
    if kind is None:
        known = ", ".join(each.name for each in graph.KINDS.values())
        raise NotFoundError(f"target_node: {text[:100]!r} is no kind of module; there are {known}, and ALL")
    if not slash:
        return Wanted((kind.number,))
    if "\0" in name or modules.find(transaction, deployment, kind.number, name) is None:
        raise NotFoundError(f"target_node: module {text[:100]!r} was never seen; GET /api/nodes lists those that were")
    return Wanted((kind.number,), name)


def of(transaction: Transaction, deployment: str, wanted: Wanted) -> list[Target]:
    """Return the modules that a command is for: all that live; of a kind without any, the first that comes.

    For all kinds together those without a module are left out, where one is there at all.
    """
    if wanted.name is not None:
        return [Target(wanted.kinds[0], wanted.name)]
    living = [
        Target(row.kind, row.name)
        for row in modules.of_deployment(transaction, deployment)
        if row.lives and row.kind in wanted.kinds
    ]
    if living:
        return living
    return [Target(kind) for kind in wanted.kinds]
