"""The Python SDK: connect to an orchestrator, build a compute plan, submit it, watch it."""

from orchestrator.client.asynchronous import AsyncClient
from orchestrator.client.certificates import Certificates
from orchestrator.client.connection import Client
from orchestrator.client.errors import CallError, PlanError
from orchestrator.client.plan import Plan
from orchestrator.client.progress import Progress
from orchestrator.client.task import PUBLIC, Output, Task
from orchestrator.client.watching import Event, Watch

__all__ = [
    "PUBLIC",
    "AsyncClient",
    "CallError",
    "Certificates",
    "Client",
    "Event",
    "Output",
    "Plan",
    "PlanError",
    "Progress",
    "Task",
    "Watch",
]
