"""The commands by which an organization's administrator decides: approve, refuse."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.acting import where_it_waits
from orchestrator.cli.connection import connect
from orchestrator.cli.errors import Fault, RemoteFault, UsageFault
from orchestrator.cli.place import Place

if TYPE_CHECKING:
    from orchestrator.client import Client
    from workers.consent.decisions import Kind

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")

Command = TypeVar("Command", bound=Callable[..., Any])


def _subject(command: Command) -> Command:
    for option in (
        click.option("--organization", metavar="ID", help="All functions and compute plans of this organization."),
        click.option("--plan", metavar="KEY", help="This compute plan, whoever owns its functions."),
        click.option("--checksum", metavar="SHA256", help="With --function: only if its archive has this checksum."),
        click.option("--function", metavar="KEY", help="This function's archive, in whoever's compute plan."),
    ):
        command = option(command)
    return command


@click.command()
@_subject
@_JSON
@click.pass_obj
def approve(place: Place, /, as_json: bool, **subject: str | None) -> None:
    """Approve a function, a compute plan or an organization: tasks that waited for it run.

    A task runs when its function and its compute plan are both covered. The approval of a function holds for its
    archive as it is now, by checksum: another archive, under whatever key or name, must be approved anew.
    """
    _decide(place, approved=True, as_json=as_json, **subject)


@click.command()
@_subject
@_JSON
@click.pass_obj
def refuse(place: Place, /, as_json: bool, **subject: str | None) -> None:
    """Refuse a function, a compute plan or an organization, whatever else admits it; what runs already goes on.

    A later approval of the very same takes the refusal back.
    """
    _decide(place, approved=False, as_json=as_json, **subject)


def _decide(
    place: Place,
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
    access, others = where_it_waits(
        place.target.resolve(),
        lambda each: (
            (bool(function) and each.function_key.startswith(str(function).lower()))
            or (bool(plan) and each.compute_plan_key.startswith(str(plan).lower()))
            or organization in (each.function_owner, each.plan_owner)
        ),
    )
    decided = place.consent(access)
    _, file = place.files(access)
    with connect(access) as client:
        from orchestrator.core.documents import DocumentError
        from workers.consent import decisions
        from workers.consent.declines import reconsider

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
    from orchestrator.client.printing import printable

    click.echo(printable(f"{access.organization} has {word} {words}"))
    if approved:
        told = "1 task that waited is told to run" if poked == 1 else f"{poked} tasks that waited are told to run"
        click.echo(told if poked else "no task waited for this alone")
    if others:
        click.echo(f"it waits at {', '.join(others)} too: name one with --org")


def _name(
    client: "Client", function: str | None, checksum: str | None, plan: str | None, organization: str | None
) -> "tuple[Kind, str, str]":
    """Return what is decided on, its name in the file, and words for it."""
    from orchestrator import protos as pb
    from orchestrator.cli import reading
    from workers.consent.decisions import Kind

    if function is not None:
        found = reading.find(client, function, reading.FUNCTION)
        digest = found.archive.checksum.lower()
        if checksum and checksum.lower() != digest:
            raise Fault(f"function {found.key} has an archive with the checksum {digest} now; nothing was decided")
        return Kind.FUNCTIONS, digest, f"function {found.name} of {found.owner}, archive sha256 {digest}"
    if plan is not None:
        meant = reading.find(client, plan, reading.PLAN)
        return Kind.PLANS, meant.key, f"compute plan {meant.key} of {meant.owner}"
    name = organization or ""
    if name == client.organization:
        raise UsageFault(f"{name} is the organization itself, whose functions and compute plans always run")
    members = client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam()).organizations
    if name not in {member.id for member in members}:
        raise RemoteFault(f"no organization of channel {client.channel} is called {name!r}")
    return Kind.ORGANIZATIONS, name, f"the functions and compute plans of {name}"
