"""The commands of an organization's administrator about consent: list, show, approve, refuse."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.connection import Access, Connected, Target, connect, connection_options, tls
from orchestrator.cli.errors import Fault, RemoteFault, UsageFault

if TYPE_CHECKING:
    from orchestrator import protos as pb
    from orchestrator.client import Client
    from workers.consent import Consent
    from workers.decisions import Kind

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILES = (
    click.option(
        "--consent-policy",
        "policy",
        type=_FILE,
        envvar="ORCHESTRATOR_CONSENT_POLICY",
        help="The consent policy of the organization's workers.",
    ),
    click.option(
        "--decisions",
        type=_FILE,
        envvar="ORCHESTRATOR_CONSENT_DECISIONS",
        help="Where decisions are kept; beside the consent policy by default.",
    ),
    click.option(
        "--work-dir",
        type=_FOLDER,
        envvar="ORCHESTRATOR_WORK_DIR",
        help="Of the workers; decisions are kept there where no consent policy is given.",
    ),
)

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Place:
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
        from workers.consent import Consent

        consent = Consent(access.organization, *self.files(access))
        try:
            consent.check()
        except DocumentError as error:
            raise UsageFault(str(error)) from error
        return consent


def _with_files(command: Command) -> Command:
    for option in reversed(_FILES):
        command = option(command)
    return command


@click.group(cls=Connected)
@connection_options
@_with_files
@click.pass_context
def consent(
    context: click.Context,
    /,
    policy: Path | None,
    decisions: Path | None,
    work_dir: Path | None,
    **options: Any,
) -> None:
    """Decide which functions and compute plans of others run at the organization.

    Its own always run; those of others where its consent policy or a decision made here says so.
    """
    context.obj = _Place(Target(**options), policy, decisions, work_dir)


@consent.command("list")
@_JSON
@click.pass_obj
def list_waiting(place: _Place, as_json: bool) -> None:
    """List what waits for consent, why, and how many tasks; then what is admitted and was decided."""
    access = place.target.resolve()
    decided = place.consent(access)
    with connect(access) as client:
        from orchestrator.cli import declines
        from workers.declines import waiting

        groups = declines.grouped(waiting(client, access.organization))
    from orchestrator.cli import reading, tables

    policy, decisions = decided.policy, decided.decisions
    if as_json:
        reading.print_json(
            {
                "organization": access.organization,
                "waiting": [group.document() for group in groups],
                "consent_policy": {"organizations": sorted(policy.organizations), "functions": policy.functions.value},
                "approved": decisions.approved.document(),
                "refused": decisions.refused.document(),
            }
        )
        return
    output = tables.console()
    for group in groups:
        output.print(tables.facts(group.facts(place.target.command("consent"))))
        output.print()
    if not groups:
        click.echo("Nothing waits for consent.")
    output.print(
        tables.facts(
            (
                (
                    "consent policy",
                    f"{'all' if policy.functions == 'any' else 'approved'} functions and all compute plans of "
                    f"{_listed(policy.organizations)}",
                ),
                *(
                    (word, f"{kind} {_listed(names)}")
                    for word, all_names in (("approved", decisions.approved), ("refused", decisions.refused))
                    for kind, names in all_names.document().items()
                ),
            )
        )
    )


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "nobody else"


@consent.command()
@click.argument("function")
@click.option("--into", type=_FOLDER, metavar="DIR", help="Unpack the files into this new folder instead of printing.")
@_JSON
@click.pass_obj
def show(place: _Place, function: str, into: Path | None, as_json: bool) -> None:
    """Show a function: whose it is, whether it runs here, and the files of its archive to read.

    FUNCTION is its key. The archive is fetched from its owner's asset store, and is the one that an approval is bound
    to. What could steer a terminal is shown as other characters.
    """
    access = place.target.resolve()
    decided = place.consent(access)
    if access.certificates is None or access.peers is None:
        raise UsageFault("archives are read over mutual TLS: give --peer-ca-cert, --ca-cert, --cert and --key")
    from orchestrator.cli import archive, reading, tables
    from workers.consent import Asked, judge

    with connect(access) as client:
        found = _function(client, function)
        archive.check_address(client, found, decided.policy.stores)
    context = tls(access.certificates, access.peers)
    # Of a compute plan of one's own: what is asked here is whether the function runs.
    asked = Asked.of(_task_of(access.organization, found), found)
    missing = judge(access.organization, decided.policy, decided.decisions, asked)
    state = "runs here" if missing is None else missing.reason
    with archive.opened(found, context, into, access.proxy_from_environment) as folder:
        if as_json:
            files = [each.document() for each in archive.files(folder)]
            reading.print_json(
                {**reading.document(found), "runs_here": missing is None, "state": state, "files": files}
            )
            return
        output = tables.console()
        output.print(
            tables.facts(
                (
                    ("function", found.key),
                    ("name", found.name),
                    ("owner", found.owner),
                    ("archive", f"sha256 {found.archive.checksum.lower()}"),
                    ("from", found.archive.storage_address),
                    ("state", state),
                    *sorted(found.metadata.items()),
                )
            )
        )
        rows = [(each.name, str(each.size), each.kind) for each in archive.files(folder)]
        output.print(tables.table("file", "bytes", "is", rows=rows))
        if into is None:
            archive.print_texts(folder)
        else:
            click.echo(f"unpacked into {folder}")


def _task_of(organization: str, function: "pb.Function") -> "pb.ComputeTask":
    from orchestrator import protos as pb

    return pb.ComputeTask(owner=organization, worker=organization, function_key=function.key)


def _subject(command: Command) -> Command:
    for option in (
        click.option("--organization", metavar="ID", help="All functions and compute plans of this organization."),
        click.option("--plan", metavar="KEY", help="This compute plan, whoever owns its functions."),
        click.option("--checksum", metavar="SHA256", help="With --function: only if its archive has this checksum."),
        click.option("--function", metavar="KEY", help="This function's archive, in whoever's compute plan."),
    ):
        command = option(command)
    return command


@consent.command()
@_subject
@_JSON
@click.pass_obj
def approve(place: _Place, /, as_json: bool, **subject: str | None) -> None:
    """Approve a function, a compute plan or an organization: tasks that waited for it run.

    A task runs when its function and its compute plan are both covered. The approval of a function holds for its
    archive as it is now, by checksum: another archive, under whatever key or name, must be approved anew.
    """
    _decide(place, approved=True, as_json=as_json, **subject)


@consent.command()
@_subject
@_JSON
@click.pass_obj
def refuse(place: _Place, /, as_json: bool, **subject: str | None) -> None:
    """Refuse a function, a compute plan or an organization, whatever else admits it; what runs already goes on.

    A later approval of the very same takes the refusal back.
    """
    _decide(place, approved=False, as_json=as_json, **subject)


def _decide(
    place: _Place,
    *,
    approved: bool,
    as_json: bool,
    function: str | None,
    checksum: str | None,
    plan: str | None,
    organization: str | None,
) -> None:
    if sum(subject is not None for subject in (function, plan, organization)) != 1:
        raise UsageFault("say what is decided: one of --function KEY, --plan KEY and --organization ID")
    if checksum and not function:
        raise UsageFault("--checksum says which archive of --function is meant: give --function too")
    access = place.target.resolve()
    decided = place.consent(access)
    _, file = place.files(access)
    with connect(access) as client:
        from orchestrator.core.documents import DocumentError
        from workers import decisions
        from workers.declines import reconsider

        kind, name, words = _name(client, function, checksum, plan, organization)
        try:
            decisions.decide(file, kind, name, approved)
        except (DocumentError, OSError) as error:
            raise Fault(f"the decision is not kept: {error}") from error
        poked = reconsider(client, access.organization, decided)
    word = "approved" if approved else "refused"
    if as_json:
        from orchestrator.cli.reading import print_json

        print_json({"decision": word, "kind": kind.value, "name": name, "file": str(file), "tasks": poked})
        return
    from orchestrator.client.display import printable

    click.echo(printable(f"{access.organization} has {word} {words}"))
    if approved:
        click.echo(f"{poked} tasks that waited are told to run" if poked else "no task waited for this alone")


def _name(
    client: "Client", function: str | None, checksum: str | None, plan: str | None, organization: str | None
) -> "tuple[Kind, str, str]":
    """Return what is decided on, its name in the file, and words for it."""
    from orchestrator import protos as pb
    from orchestrator.cli import reading
    from workers.decisions import Kind

    if function is not None:
        found = _function(client, function)
        digest = found.archive.checksum.lower()
        if checksum and checksum.lower() != digest:
            raise Fault(f"function {found.key} has an archive with the checksum {digest} now; nothing was decided")
        return Kind.FUNCTIONS, digest, f"function {found.name} of {found.owner}, archive sha256 {digest}"
    if plan is not None:
        meant = reading.find_plan(client, plan)
        return Kind.PLANS, meant.key, f"compute plan {meant.key} of {meant.owner}"
    name = organization or ""
    if name == client.organization:
        raise UsageFault(f"{name} is the organization itself, whose functions and compute plans always run")
    members = client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam()).organizations
    if name not in {member.id for member in members}:
        raise RemoteFault(f"no organization of channel {client.channel} is called {name!r}")
    return Kind.ORGANIZATIONS, name, f"the functions and compute plans of {name}"


def _function(client: "Client", key: str) -> "pb.Function":
    from orchestrator import protos as pb

    return client.functions.GetFunction(pb.GetFunctionParam(key=key))
