"""The consent policy: whose functions and compute plans an organization's worker runs.

Its own always; those of others only where its consent policy says so, or what its people have approved since. Functions
are approved by the SHA-256 of their archive, never by a key or a name, and what was refused is refused whatever else
admits it. What decides lies in two files: the consent policy, written by hand, and the decisions, written by
`orchestrator consent`; every process of the organization reads both again when they change.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Generic, Self, TypeVar
from urllib.parse import urlsplit

import structlog

from orchestrator import protos as pb
from orchestrator.core.strict_yaml import YamlFault, read
from workers.decisions import Decisions
from workers.settings import WorkerSettings

Content = TypeVar("Content")

log = structlog.get_logger()

_LARGEST = 1024 * 1024
_ORGANIZATION = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_REASON = 500


class Functions(StrEnum):
    """Which functions of the admitted organizations run."""

    ANY = "any"
    APPROVED = "approved"


@dataclass(frozen=True)
class ConsentPolicy:
    """What the file says; without one nothing of others runs.

    Args:
        organizations: others whose functions and compute plans run.
        functions: whether all functions of theirs, or only those whose archive was approved.
        stores: organization -> the https prefix of its asset store, where it is not the registered one.
        network: organizations whose functions may use the network.
    """

    organizations: frozenset[str] = frozenset()
    functions: Functions = Functions.ANY
    stores: Mapping[str, str] = field(default_factory=dict)
    network: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Read the file of a consent policy.

        Args:
            text: its content.
            name: the file's, for faults.

        Raises:
            YamlFault: it is none; names the line and what is expected.
        """
        section = read(text, name)
        section.check("organizations", "functions", "stores", "network")
        members = {}
        for key in ("organizations", "network"):
            members[key] = frozenset(section.texts(key))
            for member in section.texts(key):
                if not _ORGANIZATION.fullmatch(member):
                    raise section.fault(key, f"{member!r} is no organization; its id is expected")
        functions = section.text("functions", Functions.ANY)
        if functions not in set(Functions):
            raise section.fault("functions", f"{functions!r} is not known; any or approved is expected")
        stores, named = section.section("stores"), {}
        for organization in stores:
            named[organization] = stores.text(organization, "").rstrip("/")
            parts = urlsplit(named[organization])
            if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
                raise stores.fault(organization, "the https URL of its asset store is expected")
        return cls(members["organizations"], Functions(functions), named, members["network"])


@dataclass(frozen=True)
class Asked:
    """What a task asks an organization to run.

    Args:
        function: key of the function.
        function_owner: whose it is.
        checksum: SHA-256 of its archive, in small letters.
        plan: key of the compute plan.
        plan_owner: whose it is, and so is the task.
        name: of the function, for people.
    """

    function: str
    function_owner: str
    checksum: str
    plan: str
    plan_owner: str
    name: str = field(compare=False)

    @classmethod
    def of(cls, task: pb.ComputeTask, function: pb.Function) -> Self:
        """Return what a task asks with its function."""
        return cls(
            function=function.key,
            function_owner=function.owner,
            checksum=function.archive.checksum.lower(),
            plan=task.compute_plan_key,
            plan_owner=task.owner,
            name=function.name,
        )

    @classmethod
    def of_decline(cls, decline: pb.Decline) -> Self:
        """Return what a task asks that was declined."""
        return cls(
            function=decline.function_key,
            function_owner=decline.function_owner,
            checksum=decline.function_checksum.lower(),
            plan=decline.compute_plan_key,
            plan_owner=decline.plan_owner,
            name=decline.function_name,
        )


@dataclass(frozen=True)
class Missing:
    """Why a task does not run here.

    Args:
        function: its function is not consented to.
        plan: its compute plan is not consented to.
        refused: one of them was refused expressly.
        reason: for people.
    """

    function: bool
    plan: bool
    refused: bool
    reason: str


def judge(organization: str, policy: ConsentPolicy, decisions: Decisions, asked: Asked) -> Missing | None:
    """Return why a task does not run at an organization; None where it does."""
    approved, refused = decisions.approved, decisions.refused
    admitted = policy.organizations | approved.organizations | {organization}
    known = asked.function_owner == organization or asked.checksum in approved.functions
    any_function = policy.functions is Functions.ANY and asked.function_owner in admitted
    no_function = asked.checksum in refused.functions or asked.function_owner in refused.organizations
    no_plan = asked.plan in refused.plans or asked.plan_owner in refused.organizations
    function = no_function or not (known or any_function)
    plan = no_plan or not (asked.plan_owner in admitted or asked.plan in approved.plans)
    if not function and not plan:
        return None
    whats = {
        f"function {asked.name} of {asked.function_owner}": (function, no_function),
        f"compute plan {asked.plan} of {asked.plan_owner}": (plan, no_plan),
    }
    words = [
        f"has {'refused' if is_refused else 'not approved'} {what}"
        for what, (missing, is_refused) in whats.items()
        if missing
    ]
    reason = f"{organization} {' and '.join(words)}"
    return Missing(function, plan, no_function or no_plan, reason[:_REASON])


class Consent:
    """The consent policy and the decisions of an organization, as their files are now.

    Args:
        organization: whose worker asks.
        policy: the file of the consent policy; None admits nothing of others.
        decisions: the file of decisions; it need not be there.
    """

    def __init__(self, organization: str, policy: Path | None, decisions: Path) -> None:
        self._organization = organization
        self._policy_file = _File(policy, ConsentPolicy.parse, ConsentPolicy())
        self._decisions_file = _File(decisions, Decisions.parse, Decisions(), optional=True)

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        """Return the consent of a worker."""
        return cls(settings.organization, settings.consent_policy, settings.decisions_file)

    def check(self) -> None:
        """Check both files, as at the start: nothing good was read before that could be kept.

        Raises:
            YamlFault: one is wrong; names the line and what is expected.
        """
        self._policy_file.read()
        self._decisions_file.read()

    @property
    def policy(self) -> ConsentPolicy:
        """The consent policy as its file is now; while that is wrong, the last good one."""
        return self._policy_file.now()

    @property
    def decisions(self) -> Decisions:
        """The decisions as their file is now; while that is wrong, the last good ones."""
        return self._decisions_file.now()

    def judge(self, asked: Asked) -> Missing | None:
        """Return why a task does not run here; None where it does."""
        return judge(self._organization, self.policy, self.decisions, asked)


class _File(Generic[Content]):
    """What a file says, read again when it changed.

    Args:
        path: None for no file.
        parse: from its content and its name.
        default: what holds without one.
        optional: whether it need not be there.
    """

    def __init__(
        self, path: Path | None, parse: Callable[[str, str], Content], default: Content, *, optional: bool = False
    ) -> None:
        self._path = path
        self._parse = parse
        self._default = self._content = default
        self._optional = optional
        self._seen: object = None

    def read(self) -> None:
        """Read it, whether it changed or not.

        Raises:
            YamlFault: it is wrong, or cannot be read.
        """
        self._seen = self._state()
        self._content = self._load()

    def now(self) -> Content:
        """Return what it says now; while it is wrong, what it said last."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._content = self._load()
            except YamlFault as fault:
                log.error("consent.file_wrong", error=str(fault), kept="what it said before")
        return self._content

    def _state(self) -> object:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError as error:
            return error.errno
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _load(self) -> Content:
        if self._path is None:
            return self._default
        try:
            text = _read(self._path)
        except FileNotFoundError as error:
            if self._optional:
                return self._default
            raise YamlFault(f"{self._path}: {error.strerror}; a consent policy is expected") from error
        except OSError as error:
            raise YamlFault(f"{self._path}: {error.strerror}") from error
        return self._parse(text, str(self._path))


def _read(path: Path) -> str:
    # A pipe that somebody put there would be waited for.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise YamlFault(f"{path}: it is no file; a file in YAML is expected")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise YamlFault(f"{path}: it is larger than {_LARGEST} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise YamlFault(f"{path}: it is no text in UTF-8") from error
