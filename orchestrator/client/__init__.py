"""The Python SDK: connect to an orchestrator, build a compute plan, submit it, watch it."""

from orchestrator.client.connection import Certificates, Client

__all__ = ["Certificates", "Client"]
