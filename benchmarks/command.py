"""The command: `python -m benchmarks`, or `make bench`."""

import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from math import isnan
from pathlib import Path

import click
from rich.console import Console

from benchmarks import machine, report
from benchmarks.measure import Row
from benchmarks.run import Table, chosen, measure
from benchmarks.side import ROOT, Checkout
from benchmarks.sizes import FULL, GROWN, QUICK, TINY, Sizes
from benchmarks.stage import Stage
from orchestrator.embedded.interruption import ENDING, EXIT_CODE, Interrupted, shielded

_WIDTH = 180
_PAGE = ROOT / "docs" / "performance.md"


_LONGEST = 24 * 60
"""Minutes."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Small counts, one round: minutes.")
@click.option("--tiny", is_flag=True, help="Counts that say nothing: whether the bench starts.")
@click.option("--growth", is_flag=True, help="Grow to a million stored tasks too.")
@click.option(
    "--steady",
    type=click.FloatRange(0, _LONGEST, min_open=True),
    metavar="MINUTES",
    help="Steady load too, for so long (15 in the docs).",
)
@click.option("--rounds", type=click.IntRange(1), help="How often each row is measured.")
@click.option("--rows", multiple=True, metavar="NAME", help="Only rows whose name begins so; may be repeated.")
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Another checkout of this repository, measured in turn with this one.",
)
@click.option("--processes", type=click.IntRange(1), default=1, help="Of our server; the other side's has one.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all rounds there.")
@click.option("--write-docs", is_flag=True, help="Write the table into docs/performance.md.")
def main(
    quick: bool,
    tiny: bool,
    growth: bool,
    steady: float | None,
    rounds: int | None,
    rows: tuple[str, ...],
    against: Path | None,
    processes: int,
    json_file: Path | None,
    write_docs: bool,
) -> None:
    """Measure what calls, tasks and events cost, each beside a yardstick of the same run."""
    sizes = TINY if tiny else QUICK if quick else FULL
    if growth:
        sizes = replace(sizes, stored=(*sizes.stored, GROWN))
    if steady:
        if isnan(steady):
            raise click.UsageError("--steady: a number of minutes is expected")
        sizes = replace(sizes, steady=steady)
    if rounds:
        sizes = replace(sizes, repeats=rounds)
    unknown = [name for name in rows if not chosen(sizes, [name])]
    if unknown:
        raise click.UsageError(f"no row begins with {' or '.join(unknown)}")
    if json_file:
        _check_writable("--json", json_file)
    if write_docs:
        _check_writable("--write-docs", _PAGE)
        if not report.has_place(_PAGE):
            raise click.UsageError(f"--write-docs: {_PAGE} has no place for the table of the bench")
    checkouts = [Checkout("ours", ROOT, processes)]
    if against:
        if not (against / "orchestrator").is_dir():
            raise click.UsageError(f"--against: {against} is no checkout of this repository")
        checkouts.append(Checkout("against", against))
    sides = [checkout.name for checkout in checkouts]
    progress = Console(stderr=True)
    # A file has no width of its own.
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    begun = time.monotonic()
    table = Table()
    facts: dict[str, str] = {}

    def tell(words: str) -> None:
        progress.print(f"{time.monotonic() - begun:6.1f} s  {words}", highlight=False)

    def show() -> None:
        facts["took"] = f"{time.monotonic() - begun:.0f} s"
        report.show(console, table, sides, facts)
        if json_file:
            json_file.write_text(report.to_json(table, sides, facts))

    try:
        _measure(sizes, checkouts, chosen(sizes, rows), tell, table, facts)
    except Interrupted:
        # While it ends it is not interrupted again. The page shows whole runs only.
        if table.lines:
            show()
        else:
            progress.print("interrupted before anything was measured")
        sys.exit(EXIT_CODE)
    with shielded():
        show()
        if write_docs:
            report.write_page(_PAGE, table, sides, facts)
    sys.exit(1 if table.failures else 0)


def _measure(
    sizes: Sizes,
    checkouts: Sequence[Checkout],
    rows: Sequence[Row],
    tell: Callable[[str], None],
    table: Table,
    facts: dict[str, str],
) -> None:
    """Measure rows in a folder of which nothing is left, however often the process is told to end, and when.

    Raises:
        Interrupted: it was told to end; the table has what was measured until then.
    """
    with ExitStack() as quiet:
        # Nothing comes between the folder and what removes it.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
                with Stage(Path(folder), sizes, checkouts) as stage:
                    facts |= machine.describe(stage, shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]))
                    measure(stage, rows, tell, table)
            finally:
                quiet.enter_context(shielded())


def _check_writable(option: str, file: Path) -> None:
    """Check that a file can be written, before hours are spent on what belongs there.

    Raises:
        UsageError: it cannot.
    """
    there = file.exists()
    try:
        file.open("a").close()
    except OSError as error:
        raise click.UsageError(f"{option}: {file} cannot be written: {error.strerror}") from error
    if not there:
        file.unlink()
