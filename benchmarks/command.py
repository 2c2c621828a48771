"""The command: `python -m benchmarks`, or `make bench`."""

import shlex
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from benchmarks import machine, report
from benchmarks.run import Table, chosen, measure
from benchmarks.side import ROOT, Checkout
from benchmarks.sizes import FULL, GROWN, QUICK, TINY
from benchmarks.stage import Stage

_WIDTH = 180
_PAGE = ROOT / "docs" / "performance.md"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Small counts, one round: minutes.")
@click.option("--tiny", is_flag=True, help="Counts that say nothing: whether the bench starts.")
@click.option("--growth", is_flag=True, help="Grow to a million stored tasks too.")
@click.option("--steady", type=float, metavar="MINUTES", help="Steady load too, for so long (15 in the docs).")
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
        sizes = replace(sizes, steady=steady)
    if rounds:
        sizes = replace(sizes, repeats=rounds)
    wanted = chosen(sizes, rows)
    if not wanted:
        raise click.UsageError(f"no row begins with {' or '.join(rows)}")
    checkouts = [Checkout("ours", ROOT, processes)]
    if against:
        checkouts.append(Checkout("against", against))
    sides = [checkout.name for checkout in checkouts]
    progress = Console(stderr=True)
    # What is asked to end shows what it has, and leaves nothing behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A file has no width of its own.
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    begun = time.monotonic()
    table = Table()
    facts: dict[str, str] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, Stage(Path(folder), sizes, checkouts) as stage:
            facts |= machine.describe(stage, shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]))
            table = measure(
                stage,
                wanted,
                lambda words: progress.print(f"{time.monotonic() - begun:6.1f} s  {words}", highlight=False),
            )
    except KeyboardInterrupt:
        # While the servers end there is something to show.
        if not table.lines:
            progress.print("interrupted before anything was measured")
            sys.exit(130)
    facts["took"] = f"{time.monotonic() - begun:.0f} s"
    report.show(console, table, sides, facts)
    if json_file:
        json_file.write_text(report.to_json(table, sides, facts))
    if write_docs:
        report.write_page(_PAGE, table, sides, facts)
    sys.exit(1 if table.failures else 0)
