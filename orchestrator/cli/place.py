"""Where an organization keeps what it consents to: the options that say so, and its files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.connection import Access, Target
from orchestrator.cli.errors import UsageFault

if TYPE_CHECKING:
    from workers.consent.policy import Consent

FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_FILES = (
    click.option(
        "--consent-policy",
        "policy",
        type=_FILE,
        envvar="ORCHESTRATOR_CONSENT_POLICY",
        show_envvar=True,
        help="The consent policy of the organization's workers.",
    ),
    click.option(
        "--decisions",
        type=_FILE,
        envvar="ORCHESTRATOR_CONSENT_DECISIONS",
        show_envvar=True,
        help="Where decisions are kept; beside the consent policy by default.",
    ),
    click.option(
        "--work-dir",
        type=FOLDER,
        envvar="ORCHESTRATOR_WORK_DIR",
        show_envvar=True,
        help="Of the workers; decisions are kept there where no consent policy is given.",
    ),
)

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Place:
    """The orchestrator, and the files of the organization; see the options."""

    target: Target
    policy: Path | None
    decisions: Path | None
    work_dir: Path | None

    def files(self, access: Access) -> tuple[Path | None, Path]:
        """Return the consent policy, if there is one, and the file of decisions.

        Raises:
            UsageFault: nothing says where they are.
        """
        from workers.settings import decisions_file

        policy = self.policy
        if policy is None and access.consent_folder is not None:
            from orchestrator.embedded.commands import policy_of

            policy = policy_of(access.consent_folder, access.organization)
        if policy is None and self.decisions is None and self.work_dir is None:
            raise UsageFault(
                "nothing says where the organization's decisions are kept: give --consent-policy, --decisions or "
                "--work-dir, or ORCHESTRATOR_CONSENT_POLICY, …, as the organization's workers have them"
            )
        return policy, decisions_file(access.organization, policy, self.decisions, self.work_dir or Path())

    def consent(self, access: Access) -> "Consent":
        """Return the consent of the organization.

        Raises:
            UsageFault: one of its files is wrong.
        """
        from orchestrator.core.documents import DocumentError
        from workers.consent.policy import Consent

        consent = Consent(access.organization, *self.files(access))
        try:
            consent.check()
        except DocumentError as error:
            raise UsageFault(str(error)) from error
        return consent


def with_files(command: Command) -> Command:
    """Give a command the options `policy`, `decisions` and `work_dir` of a `Place`."""
    for option in reversed(_FILES):
        command = option(command)
    return command
