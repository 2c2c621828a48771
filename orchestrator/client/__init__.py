"""The Python SDK: connect to an orchestrator, build a compute plan, submit it, watch it."""

from orchestrator.client.asynchronous import AsyncClient
from orchestrator.client.certificates import Certificates
from orchestrator.client.check import Check
from orchestrator.client.connection import Client
from orchestrator.client.continuation import Continuation, Continuations
from orchestrator.client.errors import BuildError, CallError, PlanEndedError, PlanError, StoreError
from orchestrator.client.event import Event
from orchestrator.client.explanation import Explanation
from orchestrator.client.folders import FolderError
from orchestrator.client.messages import show
from orchestrator.client.plan import Plan
from orchestrator.client.progress import Progress
from orchestrator.client.scores import Score, Scores
from orchestrator.client.task import PUBLIC, Output, Task
from orchestrator.client.watching import Watch

__all__ = [
    "PUBLIC",
    "AsyncClient",
    "BuildError",
    "CallError",
    "Certificates",
    "Check",
    "Client",
    "Continuation",
    "Continuations",
    "Event",
    "Explanation",
    "FolderError",
    "Output",
    "Plan",
    "PlanEndedError",
    "PlanError",
    "Progress",
    "Score",
    "Scores",
    "StoreError",
    "Task",
    "Watch",
]

show()
