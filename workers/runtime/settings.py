"""What a runtime of executions must be told; what it must know of Argo and Kafka stands with each of them."""

import socket

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from orchestrator.core.broker_urls import BrokerUrl
from workers.settings import Identifier, MemberSettings


class RuntimeSettings(MemberSettings):
    """What a runtime needs to be told what to do."""

    broker_url: BrokerUrl = Field(description="the URL of the broker with the queue `executions.<organization>`")
    node: Identifier = Field(
        default_factory=lambda: f"runtime-{socket.gethostname()}"[:100],
        description="a name for this runtime, unique among the organization's workers and runtimes: letters, digits, "
        "dots and dashes",
    )
    runtime_concurrency: PositiveInt = Field(4, description="how many steps are done at once (1 or more)")
    runtime_look_period: PositiveFloat = Field(
        60.0, description="the seconds between two looks at all workflows of this installation (more than 0)"
    )
    runtime_report_patience: NonNegativeFloat = Field(
        300.0,
        description="the seconds that the pods of a workflow which has ended, or is gone, may take to report, before "
        "its execution fails (0 or more)",
    )
