"""Makes a function's archive ready to run: fetched, verified, unpacked, its command and its environment known."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import protos as pb
from workers.assets import addresses
from workers.assets.fetching import Fetcher
from workers.consent.policy import ConsentPolicy
from workers.errors import AddressFault, BuildFault, ChecksumFault
from workers.executors.executor import Environment, Executor, Hosting
from workers.functions import archive, dockerfile, reader, recipe
from workers.functions.environments import Allowed, Environments, Held
from workers.settings import WorkerSettings


@dataclass(frozen=True)
class Program:
    """A function that can run.

    Args:
        command: of its ENTRYPOINT.
        held: its environment, to be closed when it has ended.
        notes: lines of the build's log.
    """

    command: list[str]
    held: Held
    notes: tuple[str, ...] = ()


def prepare(
    function: pb.Function,
    folder: Path,
    fetcher: Fetcher,
    settings: WorkerSettings,
    executor: Executor,
    policy: ConsentPolicy,
    go_on: Callable[[], None] = lambda: None,
) -> Program:
    """Unpack a function into a folder, and prepare what it needs.

    Args:
        function: as the orchestrator has just handed it to this organization.
        folder: an existing, empty folder.
        fetcher: where its archive comes from.
        settings: the worker's: how large an archive may be, both packed and unpacked, and where packages come from.
        executor: that is to run it.
        policy: what the organization has consented to.
        go_on: is called while something is waited for, and may raise to end that.

    Raises:
        BuildFault: the archive is not its owner's, or not the registered one, unsafe, or asks for what is not here.
        InternalFault: it, or what it asks for, cannot be had.
        OSError: it cannot be written.
        grpc.RpcError: the orchestrator does not say where its owner's store is.
    """
    packed = folder.with_name(f"{folder.name}.archive")
    try:
        fetcher.fetch(addresses.archive(function), packed, settings.archive_size_limit, keep=True)
        archive.unpack(packed, folder, settings.archive_size_limit)
    except (AddressFault, ChecksumFault) as fault:
        raise BuildFault(str(fault)) from fault
    finally:
        packed.unlink(missing_ok=True)
    file = folder / "Dockerfile"
    if not file.is_file():
        raise BuildFault(f"the archive of function {function.key} has no Dockerfile at its top")
    text = file.read_text(encoding="utf-8", errors="replace")
    executor.build(folder, function.archive.checksum)
    if not isinstance(executor, Hosting):
        return Program(dockerfile.read_entrypoint(text), Held(Environment()))
    read = reader.read(text, folder, folder.with_name(f"{folder.name}.written"))
    allowed = Allowed(function.owner in policy.sources, policy.indexes)
    held = Environments(settings, go_on).prepare(read, allowed)
    try:
        recipe.lay_out(read, folder, settings.archive_size_limit)
    except BaseException:
        held.close()
        raise
    return Program(read.command, held, (*read.notes, *held.notes))
