"""A client with the names and signatures of the Substra SDK's, so that what is written for it runs here.

    from orchestrator.client.substra import Client

    client = Client(connection)  # an `orchestrator.client.Client`; before: substra.Client(url=…, token=…)

It takes and returns the schemas and models of the package `substra`, and raises its exceptions, so that `substrafl`
takes it for its own. Everything travels as the connection does it. What differs is told in `docs/substra.md`.
"""

try:
    import substra as _  # noqa: F401
except ImportError as error:
    raise ImportError(
        "orchestrator.client.substra speaks with the types of the package `substra`, which is not installed: "
        "`pip install substra`, or install the orchestrator with its extra `substra`"
    ) from error

from orchestrator.client.substra.client import Client

__all__ = ["Client"]
