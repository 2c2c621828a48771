"""Makes a function's archive ready to run: fetched, verified, unpacked, its command and its environment known."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import protos as pb
from workers.assets import addresses
from workers.assets.fetching import Fetcher
from workers.consent import references
from workers.consent.policy import ConsentPolicy
from workers.errors import AddressFault, AwayFault, BuildFault, ChecksumFault
from workers.executors.executor import Environment, Executor, Hosting
from workers.executors.image import AwayError, Building, Image, ImageError, Imaging
from workers.functions import archive, bases, dockerfile, reader, recipe
from workers.functions.environments import Allowed, Environments, Held
from workers.settings import WorkerSettings

_SHOWN = 200
IMAGE = "image"
"""The key of a function's metadata under which its owner names the image that it runs in."""


@dataclass(frozen=True)
class Program:
    """A function that can run.

    Args:
        command: of its ENTRYPOINT.
        held: its environment, to be closed when it has ended.
        notes: lines of the build's log.
        image: that it runs in, where the executor is `Imaging`.
    """

    command: list[str]
    held: Held
    notes: tuple[str, ...] = ()
    image: Image | None = None


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
    if not isinstance(executor, Hosting):
        command = dockerfile.read_entrypoint(text)
        image: Image | None = None
        notes: tuple[str, ...] = ()
        if isinstance(executor, Imaging):
            image, notes = _imaged(function, folder, text, settings, executor, policy, go_on)
        return Program(command, Held(Environment()), notes, image)
    read = reader.read(text, folder, folder.with_name(f"{folder.name}.written"))
    allowed = Allowed(function.owner in policy.sources, policy.indexes)
    held = Environments(settings, go_on).prepare(read, allowed)
    try:
        recipe.lay_out(read, folder, settings.archive_size_limit)
    except BaseException:
        held.close()
        raise
    return Program(read.command, held, (*read.notes, *held.notes))


def _imaged(
    function: pb.Function,
    folder: Path,
    text: str,
    settings: WorkerSettings,
    executor: Imaging,
    policy: ConsentPolicy,
    go_on: Callable[[], None],
) -> tuple[Image, tuple[str, ...]]:
    """Return the image that a function runs in, and what is to be said of it.

    Raises:
        BuildFault: it has none that is admitted here, or its own cannot be built.
        AwayFault: it cannot be had now.
    """
    named = function.metadata.get(IMAGE, "")
    given = named or settings.function_image or ""
    if named and not references.admitted(named, policy.images):
        raise BuildFault(
            f"the function names the image {named[:_SHOWN]!r}, which is none of those in which functions run here; "
            f"have it named under `images` in the consent policy of {settings.organization}"
        )
    if not given and not isinstance(executor, Building):
        raise BuildFault(
            f"the executor {settings.executor} of {settings.organization} builds no images, and the function names "
            f"none: name one in its metadata as {IMAGE!r}, or have ORCHESTRATOR_FUNCTION_IMAGE name one for those that "
            "have none"
        )
    network = function.owner in policy.builds
    try:
        if not given and isinstance(executor, Building):
            made_of = bases.check(text, policy.images, network)
            return executor.build(folder, function.archive.checksum, made_of, network, go_on), ()
        note = f"it runs in the image {given}, its archive at /function: of its Dockerfile counts the ENTRYPOINT alone"
        return executor.fetch(given, go_on), (note,)
    except ImageError as error:
        hint = "" if network else f", as long as the consent policy does not name {function.owner} under `builds`"
        raise BuildFault(f"{error}{hint}") from error
    except AwayError as error:
        raise AwayFault(str(error)) from error
