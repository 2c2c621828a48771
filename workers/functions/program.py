"""Makes a function's archive ready to run: fetched, verified, unpacked, its command known."""

from pathlib import Path

from orchestrator import protos as pb
from workers.assets import addresses
from workers.assets.fetching import Fetcher
from workers.errors import AddressFault, BuildFault, ChecksumFault
from workers.functions import archive, dockerfile


def prepare(function: pb.Function, folder: Path, fetcher: Fetcher, size_limit: int) -> list[str]:
    """Unpack a function into a folder; return the command of its ENTRYPOINT.

    Args:
        function: as the orchestrator has just handed it to this organization.
        folder: an existing, empty folder.
        fetcher: where its archive comes from.
        size_limit: bytes that it may unpack to; the archive itself may not be larger either.

    Raises:
        BuildFault: the archive is not its owner's, or not the registered one, unsafe, or has no command.
        InternalFault: it cannot be had.
        grpc.RpcError: the orchestrator does not say where its owner's store is.
    """
    packed = folder.with_name(f"{folder.name}.archive")
    try:
        fetcher.fetch(addresses.archive(function), packed, size_limit, keep=True)
        archive.unpack(packed, folder, size_limit)
    except (AddressFault, ChecksumFault) as fault:
        raise BuildFault(str(fault)) from fault
    finally:
        packed.unlink(missing_ok=True)
    recipe = folder / "Dockerfile"
    if not recipe.is_file():
        raise BuildFault(f"the archive of function {function.key} has no Dockerfile at its top")
    return dockerfile.read_entrypoint(recipe.read_text(encoding="utf-8", errors="replace"))
