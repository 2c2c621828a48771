"""The central service of a federated-learning network."""

from importlib.metadata import version

__version__ = version("orchestrator")
