"""The commands of an organization's administrator about consent: list, show; to decide: see `decision`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.acting import where_it_waits
from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect, tls
from orchestrator.cli.decision import approve, refuse
from orchestrator.cli.errors import UsageFault
from orchestrator.cli.place import FOLDER, Place, with_files

if TYPE_CHECKING:
    from orchestrator.client import Client

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")


@click.group(cls=Connected)
@connection_options
@with_files
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
    context.obj = Place(Target(**options), policy, decisions, work_dir)


@consent.command("list")
@_JSON
@click.pass_obj
def list_waiting(place: Place, as_json: bool) -> None:
    """List what waits for consent, why, and how many tasks; then what is admitted and was decided."""
    access, others = where_it_waits(place.target.resolve(), lambda _: True)
    decided = place.consent(access)
    with connect(access) as client:
        from orchestrator.cli import declines
        from workers.consent.declines import waiting

        groups = declines.grouped(waiting(client, access.organization))
        policy, decisions = decided.policy, decided.decisions
        checksums = decisions.approved.functions | decisions.refused.functions
        named = {} if as_json else _functions(client, checksums)
    from orchestrator.cli import reading, tables

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
    if others:
        click.echo(f"Something waits at {', '.join(others)} too: name one with --org.\n")
    output.print(
        tables.facts(
            (
                ("organization", access.organization),
                (
                    "consent policy",
                    f"{'all' if policy.functions == 'any' else 'approved'} functions and all compute plans of "
                    f"{_listed(policy.organizations)}",
                ),
                *(
                    (word, f"{kind} {_listed(named.get(name, name) for name in names)}")
                    for word, all_names in (("approved", decisions.approved), ("refused", decisions.refused))
                    for kind, names in all_names.document().items()
                ),
            )
        )
    )


def _functions(client: "Client", checksums: frozenset[str]) -> dict[str, str]:
    """Return what people call functions, by the checksums of their archives: by which they were decided on."""
    from orchestrator.client import lists

    named: dict[str, str] = {}
    if not checksums:
        return named
    for function in lists.functions(client):
        checksum = function.archive.checksum.lower()
        if checksum in checksums and checksum not in named:
            named[checksum] = f"{function.name} of {function.owner} (sha256 {checksum[:12]}…)"
            if len(named) == len(checksums):
                break
    return named


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "nobody else"


@consent.command()
@click.argument("function")
@click.option("--into", type=FOLDER, metavar="DIR", help="Unpack the files into this new folder instead of printing.")
@_JSON
@click.pass_obj
def show(place: Place, function: str, into: Path | None, as_json: bool) -> None:
    """Show a function: whose it is, whether it runs here, and the files of its archive to read.

    FUNCTION is its key, or as much of its beginning as no other has. The archive is fetched from its owner's asset
    store, and is the one that an approval is bound to. What could steer a terminal is shown as other characters.
    """
    access, _ = where_it_waits(place.target.resolve(), lambda each: each.function_key.startswith(function.lower()))
    decided = place.consent(access)
    if access.certificates is None or access.peers is None:
        raise UsageFault("archives are read over mutual TLS: give --peer-ca-cert, --ca-cert, --cert and --key")
    from orchestrator import protos as pb
    from orchestrator.cli import archive, reading, tables
    from workers.consent.policy import Asked, judge

    with connect(access) as client:
        found = reading.find(client, function, reading.FUNCTION)
        archive.check_address(client, found, decided.policy.stores)
    context = tls(access.certificates, access.peers)
    # Of a compute plan of one's own: what is asked here is whether the function runs.
    asked = Asked.of(pb.ComputeTask(owner=access.organization), found)
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
        output.print(tables.table("file", "bytes", "is", rows=rows, folded=("file",)))
        if any("binary" in kind for _, _, kind in rows):
            click.echo("Binary files are not shown. Python runs compiled ones (.pyc) in the place of the source.")
        if into is None:
            archive.print_texts(folder)
        else:
            click.echo(f"unpacked into {folder}")


consent.add_command(approve)
consent.add_command(refuse)
