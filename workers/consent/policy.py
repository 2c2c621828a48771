"""The consent policy: whose functions and compute plans an organization's worker runs.

Its own always; those of others only where its consent policy says so, or what its people have approved since. Functions
are approved by the SHA-256 of their archive, never by a key or a name, and what was refused is refused whatever else
admits it. What decides lies in files: the consent policy, written by hand, and the decisions, written by `orchestrator
consent`; for steps of executions the map of images (see `images`). Each is read again when it changes.
"""

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from orchestrator import protos as pb
from orchestrator.core import documents
from orchestrator.core.documents import DocumentError
from orchestrator.files.watched import Watched
from workers.assets.addresses import check_store_url
from workers.consent import file, images, references
from workers.consent.decisions import Decisions
from workers.consent.images import Images
from workers.settings import WorkerSettings

_ORGANIZATION = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_INDEX = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/+-]*)?")
_REASON = 500
_UNKNOWN = Decisions()
_PERIOD = 1.0


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
        sources: organizations of whose functions what is not a wheel may be built, in a sandbox.
        indexes: URLs of package indexes that functions may name.
        images: those that functions may run in, or be built on (see `references.admitted`).
        builds: organizations whose Dockerfiles may use the network when the images of their functions are built.
        devices: organizations whose functions get the devices that the worker's settings name.
    """

    organizations: frozenset[str] = frozenset()
    functions: Functions = Functions.ANY
    stores: Mapping[str, str] = field(default_factory=dict)
    network: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    indexes: frozenset[str] = frozenset()
    images: tuple[str, ...] = references.PYTHON
    builds: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, content: bytes, name: str) -> Self:
        """Read the file of a consent policy.

        Args:
            content: of the file.
            name: the file's, for errors.

        Raises:
            DocumentError: it is none; names the line and what is expected.
        """
        document = documents.read(content, name)
        parts = document.mapping(
            "organizations", "functions", "stores", "network", "sources", "indexes", "images", "builds", "devices"
        )
        for key in ("organizations", "network", "sources", "builds", "devices"):
            for member, entry in parts[key].members().items():
                if not _ORGANIZATION.fullmatch(member):
                    raise entry.error("this is no organization; its id is expected")
        functions = parts["functions"].text() if parts["functions"] else Functions.ANY
        if functions not in set(Functions):
            raise parts["functions"].error("any or approved is expected")
        stores = {}
        for organization, entry in parts["stores"].mapping().items():
            text = entry.text()
            try:
                stores[organization] = check_store_url(text.rstrip("/"))
            except ValueError as error:
                raise entry.error(f"the URL of its asset store is expected, and this is {error}") from None
        for index, entry in parts["indexes"].members().items():
            if not _INDEX.fullmatch(index):
                raise entry.error("the https URL of a package index is expected, without a name and a password")
        for image, entry in parts["images"].members().items():
            if not references.is_pattern(image):
                raise entry.error("the name of an image is expected, or its beginning with a * after it")
        return cls(
            frozenset(parts["organizations"].members()),
            Functions(functions),
            stores,
            frozenset(parts["network"].members()),
            frozenset(parts["sources"].members()),
            frozenset(index.rstrip("/") for index in parts["indexes"].members()),
            tuple(parts["images"].members()) if parts["images"] else references.PYTHON,
            frozenset(parts["builds"].members()),
            frozenset(parts["devices"].members()),
        )


_LEAST = ConsentPolicy(functions=Functions.APPROVED)
"""What any policy admits, whatever it says."""


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
        images_file: the map of images; None runs none.
        private: paths that no command of that map may see.
    """

    def __init__(
        self,
        organization: str,
        policy: Path | None,
        decisions: Path,
        images_file: Path | None = None,
        private: Sequence[Path] = (),
    ) -> None:
        self._decided = False
        self._ended = threading.Event()

        def read_policy() -> ConsentPolicy:
            return ConsentPolicy.parse(file.read(policy), str(policy)) if policy is not None else ConsentPolicy()

        def read_decisions() -> Decisions:
            try:
                content = file.read(decisions)
            except FileNotFoundError as error:
                if self._decided:
                    raise DocumentError(
                        f"{decisions}: it was there and is gone; an empty file says that nothing is decided any more"
                    ) from error
                return Decisions()
            self._decided = True
            return Decisions.parse(content, str(decisions))

        def read_images() -> Images:
            return images.parse(file.read(images_file), str(images_file), private) if images_file else images.NONE

        self._organization = organization
        self._readers = read_policy, read_decisions, read_images
        self._policy = Watched("consent_policy", lambda: _some(policy), read_policy, until=_LEAST)
        self._decisions = Watched("consent_decisions", lambda: [decisions], read_decisions, until=_UNKNOWN)
        self._images = Watched("images", lambda: _some(images_file), read_images, until=images.NONE)

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        """Return the consent of a worker."""
        return cls(
            settings.organization, settings.consent_policy, settings.decisions_file, settings.images, settings.private
        )

    def check(self) -> None:
        """Check all files, as at the start: nothing good was read before that could be kept.

        Raises:
            DocumentError: one is wrong, or cannot be read; says what is expected.
        """
        for read in self._readers:
            try:
                read()
            except OSError as error:
                raise DocumentError(f"{error.filename}: {error.strerror}; a file in YAML is expected") from error

    def follow(self) -> None:
        """Look at all files now, and every second from now on, until `end`.

        So what was decided is known even if a file is damaged before the next task asks.
        """
        self._look()
        threading.Thread(target=self._keep_looking, name="consent", daemon=True).start()

    def end(self) -> None:
        """Look only when asked."""
        self._ended.set()

    def _keep_looking(self) -> None:
        while not self._ended.wait(_PERIOD):
            self._look()

    def _look(self) -> None:
        self._policy.look()
        self._decisions.look()
        self._images.look()

    @property
    def images(self) -> Images:
        """The map of images as its file is now; while that is wrong, the last good one that this process saw."""
        return self._images.look()

    @property
    def policy(self) -> ConsentPolicy:
        """The consent policy as its file is now; while that is wrong, the last good one.

        In a process that starts while it is wrong it admits nobody, so that only what was approved runs; while the
        decisions are wrong nothing of others runs: what was refused of what it admits is not known.
        """
        return _LEAST if self.decisions is _UNKNOWN else self._policy.look()

    @property
    def decisions(self) -> Decisions:
        """The decisions as their file is now; while that is wrong, the last good ones."""
        return self._decisions.look()

    def judge(self, asked: Asked) -> Missing | None:
        """Return why a task does not run here; None where it does."""
        return judge(self._organization, self.policy, self.decisions, asked)

    def covered(self, several: Iterable[Asked]) -> list[Asked]:
        """Return what runs here whichever compute plan of its owner asks it."""
        policy, decisions = self.policy, self.decisions
        if decisions.refused.plans:
            return []
        any_plan = (replace(asked, plan="") for asked in several)
        return [asked for asked in any_plan if judge(self._organization, policy, decisions, asked) is None]


def _some(path: Path | None) -> Sequence[Path]:
    return () if path is None else (path,)
