"""What an organization's people have approved and refused of others: a file beside the consent policy.

It is replaced as a whole, so that who reads it sees all of a decision or nothing; who writes it locks a file beside it,
so that of two decisions at once none is lost.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

import yaml

from orchestrator.core import documents
from orchestrator.files import whole


class Kind(StrEnum):
    """What a decision is about."""

    FUNCTIONS = "functions"
    """The archive of a function, by its SHA-256."""
    PLANS = "plans"
    """A compute plan, by its key."""
    ORGANIZATIONS = "organizations"
    """All functions and compute plans of an organization, by its id."""


@dataclass(frozen=True)
class Names:
    """What was decided in one way.

    Args:
        functions: SHA-256 of archives, 64 hex digits in small letters.
        plans: keys, in small letters.
        organizations: ids.
    """

    functions: frozenset[str] = frozenset()
    plans: frozenset[str] = frozenset()
    organizations: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entry: documents.Entry) -> Self:
        """Return what a part of the file names."""
        parts = entry.mapping(*(kind.value for kind in Kind))
        return cls(
            frozenset(name.lower() for name in parts["functions"].members()),
            frozenset(name.lower() for name in parts["plans"].members()),
            frozenset(parts["organizations"].members()),
        )

    def having(self, kind: Kind, name: str, there: bool) -> Self:
        """Return them with a name, or without it."""
        names: frozenset[str] = getattr(self, kind)
        return replace(self, **{kind.value: names | {name} if there else names - {name}})

    def document(self) -> dict[str, list[str]]:
        """Return them as the file has them."""
        return {kind.value: sorted(getattr(self, kind)) for kind in Kind if getattr(self, kind)}


@dataclass(frozen=True)
class Decisions:
    """All that was decided."""

    approved: Names = field(default_factory=Names)
    refused: Names = field(default_factory=Names)

    @classmethod
    def parse(cls, content: bytes, name: str) -> Self:
        """Read the file.

        Args:
            content: of the file.
            name: the file's, for errors.

        Raises:
            DocumentError: it is no such file; names the line and what is expected.
        """
        parts = documents.read(content, name).mapping("approved", "refused")
        return cls(Names.of(parts["approved"]), Names.of(parts["refused"]))

    def decided(self, kind: Kind, name: str, approved: bool) -> Self:
        """Return them with one more decision, which takes the place of an earlier one about the same."""
        return replace(
            self,
            approved=self.approved.having(kind, name, approved),
            refused=self.refused.having(kind, name, not approved),
        )

    def dump(self) -> str:
        """Return the file's content."""
        document = {"approved": self.approved.document(), "refused": self.refused.document()}
        return yaml.safe_dump({name: names for name, names in document.items() if names}, sort_keys=False)


def decide(file: Path, kind: Kind, name: str, approved: bool) -> None:
    """Write a decision into the file.

    Args:
        file: it is made where it is missing.
        kind: what it is about.
        name: of that, as `Names` has it.
        approved: or refused.

    Raises:
        DocumentError: the file is wrong; it stays as it is.
        OSError: it cannot be written.
    """
    with _locked(file):
        before = Decisions.parse(file.read_bytes(), str(file)) if file.exists() else Decisions()
        content = "# Written by `orchestrator consent`.\n" + before.decided(kind, name, approved).dump()
        # Nothing in it is a secret, and workers may run as another user.
        whole.write(file, content.encode(), whole.PUBLIC)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
