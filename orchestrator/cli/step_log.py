"""Prints what the containers of an execution say, from the stores of the organizations that run them."""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import click

from orchestrator import protos as pb
from orchestrator.cli.acting import as_one_of
from orchestrator.cli.connection import Access, connect
from orchestrator.cli.errors import Fault, UsageFault
from orchestrator.cli.said import Said
from orchestrator.cli.task_log import context
from orchestrator.client import logs, transfers
from orchestrator.core.states import TASK_WORDS, TERMINAL

if TYPE_CHECKING:
    from orchestrator.client import Client

_PERIOD_SECONDS = 0.5
_UNKNOWN = "OE0002"


def print_logs(
    access: Access, client: "Client", execution: int, step: str | None, attempt: int | None, *, follow: bool, raw: bool
) -> None:
    """Print the logs of an execution's containers, or of one.

    Args:
        access: how the orchestrator and the asset stores are reached.
        client: a connection.
        execution: its id.
        step: a name or the beginning of a key; None for all.
        attempt: which; None for the last.
        follow: whether to go on until the step has ended.
        raw: whether each byte is printed as it was written.

    Raises:
        Fault: there is none, or nobody who may be asked knows of any.
        UsageFault: more than one is to be followed.
        StoreError: it may not be read.
        CallError: the orchestrator does not answer.
    """
    found = _steps(access, client, execution)
    chosen = [each for each in found if step is None or each.step.name == step or each.step.key.startswith(step)]
    if not chosen:
        names = ", ".join(dict.fromkeys(each.step.name for each in found))
        raise Fault(f"execution {execution} has no step {step!r}; it has {names}")
    if follow and len(chosen) > 1:
        raise UsageFault(f"one step is followed at a time, and {len(chosen)} are meant: {_listed(chosen)}")
    for each in chosen:
        if len(chosen) > 1:
            click.echo(f"== {each.step.name} at {each.worker}: {TASK_WORDS[each.step.status]} ({each.step.key[:8]})")
        # Whoever is neither may not read it.
        reader = as_one_of(access, each.worker, each.step.owner)
        with connect(reader) as theirs:
            said = _print(reader, theirs, each, attempt, follow=follow, raw=raw)
        if not said:
            silence = f"step {each.step.name} of execution {execution} has said nothing"
            if len(chosen) == 1:
                raise Fault(f"{silence}, or {each.worker} does not keep it any more")
            click.echo(f"({silence})", err=True)


def _steps(access: Access, client: "Client", execution: int) -> Sequence[pb.ShownStep]:
    """Return the containers of an execution, of the federation here as whoever started it, who knows of all.

    Raises:
        Fault: nobody who may be asked knows of any.
    """
    found = _known(client, execution)
    for name in access.here.organizations if access.here and not found else ():
        with connect(as_one_of(access, name)) as theirs:
            found = found or _known(theirs, execution)
    if not found:
        raise Fault(f"execution {execution} has no containers that {access.organization} may know of")
    starter = as_one_of(access, found[0].step.owner)
    if starter is not access:
        with connect(starter) as theirs:
            return _known(theirs, execution) or found
    return found


def _known(client: "Client", execution: int) -> Sequence[pb.ShownStep]:
    """Return what an organization may know of the containers of an execution; nothing where there is nothing."""
    from orchestrator.client import CallError

    try:
        return client.execution_steps.GetSteps(pb.GetStepsParam(execution=execution)).steps
    except CallError as error:
        if error.oe_code != _UNKNOWN:
            raise
        return ()


def _print(
    access: Access, client: "Client", shown: pb.ShownStep, attempt: int | None, *, follow: bool, raw: bool
) -> bool:
    """Print the log of one step; return whether there is one."""
    known = client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
    store = logs.store_of(shown.worker, known.organizations)
    printed, spoke = Said(raw), False
    with closing(transfers.connect(context(access), access.proxy_from_environment)) as connection:
        said = logs.Reader.of_task(connection.client, store, shown.step.key, attempt)
        while True:
            # Before it is read: what was said until its end is there when it has ended.
            shown = client.execution_steps.GetStep(pb.GetStepParam(key=shown.step.key))
            try:
                printed.add(said.more())
                spoke = True
            except logs.SilentError:
                pass
            if not follow or shown.step.status in TERMINAL:
                break
            time.sleep(_PERIOD_SECONDS)
    printed.end()
    return spoke


def _listed(shown: Sequence[pb.ShownStep]) -> str:
    return ", ".join(f"{each.step.name} ({each.step.key[:8]} at {each.worker})" for each in shown)
