"""About this server."""

from orchestrator import __version__
from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction


def version(_: Transaction, __: pb.QueryVersionParam) -> pb.QueryVersionResponse:
    """Return the version of the orchestrator."""
    return pb.QueryVersionResponse(orchestrator=__version__)
