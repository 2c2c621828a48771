"""What the beat and its maintenance worker must be told, from variables named `ORCHESTRATOR_…`."""

from pydantic import AliasChoices, Field, PositiveInt

from orchestrator.core.broker_urls import BrokerUrl
from orchestrator.settings import Address, Duration, RuleSettings


class BeatSettings(RuleSettings):
    """What the beat and its maintenance worker need."""

    broker_url: BrokerUrl = Field(description="the URL of the broker, as in redis://host:6379/0")
    health_address: Address | None = Field(
        None,
        description="host:port on which this process alone answers `/health` and `/ready` over HTTP, see "
        "[health](operate/health.md); nothing is listened on when not set",
    )
    lost_poke_period: Duration = Field(15.0, description="how often lost pokes are looked for, as in 15s")
    lost_poke_age: Duration = Field(
        30.0, description="how long a task may stay To do before it is poked again, as in 30s; doubles each time"
    )
    expired_lease_period: Duration = Field(5.0, description="how often expired leases are looked for")
    due_retry_period: Duration = Field(2.0, description="how often tasks are looked for whose pause is over")
    unacknowledged_stop_period: Duration = Field(15.0, description="how often unacknowledged stops are looked for")
    stop_age: Duration = Field(15.0, description="how long a node may take to say that a cancelled attempt has ended")
    stop_deadline: Duration = Field(3600.0, description="how long a node is told again to stop an attempt")
    stuck_task_period: Duration = Field(15.0, description="how often tasks are looked for that can never run")
    transient_output_period: Duration = Field(60.0, description="how often idle transient models are looked for")
    transient_output_age: Duration = Field(
        3600.0, description="how long a worker has to delete a transient model before it is asked again"
    )
    old_poke_period: Duration = Field(3600.0, description="how often pokes that were sent long ago are looked for")
    poke_retention: Duration = Field(7 * 86400.0, description="how long pokes are kept that were sent")
    silent_node_period: Duration = Field(3600.0, description="how often nodes are looked for that have gone")
    node_retention: Duration = Field(7 * 86400.0, description="how long a node is shown that is not heard any more")
    stale_queue_period: Duration = Field(3600.0, description="how often queues are looked for that nobody reads")
    queue_retention: Duration = Field(
        86400.0,
        gt=0,
        description="how long an organization's queue is kept after its last node was heard; then it is emptied",
    )
    event_partition_period: Duration = Field(
        3600.0, description="how often partitions are made for the events of the months to come"
    )
    old_event_period: Duration = Field(3600.0, description="how often events are looked for that may be forgotten")
    event_retention: Duration | None = Field(
        None,
        description="how long events are kept, as in 90d; then they go, a month at a time. When not set, for ever",
    )
    old_subscription_period: Duration = Field(
        3600.0, description="how often event streams are looked for that ended long ago"
    )
    subscriber_retention: Duration = Field(
        7 * 86400.0,
        ge=60,
        description="how long events are kept, whatever their age, for a subscriber that went before it had them "
        "(1m or more)",
    )
    totals_period: Duration = Field(
        60.0,
        description="how often plans and tasks are counted for `/metrics`; it reads a row for each task, a second for "
        "some hundred thousand",
    )
    old_attempt_period: Duration = Field(3600.0, description="how often attempts are looked for that may be forgotten")
    attempt_retention: Duration | None = Field(
        None,
        description="how long attempts are kept of a task that has ended, as in 90d. When not set, for ever",
    )
    media_root: str | None = Field(
        None,
        validation_alias=AliasChoices("ORCHESTRATOR_MEDIA_ROOT", "MEDIA_ROOT"),
        description="where the files of schemas and executions are kept, as the server is told; where it is not "
        "reached from here, nothing is cleaned there",
    )
    orphan_file_period: Duration = Field(
        3600.0, description="how often files of executions are looked for that belong to nothing"
    )
    clean_topics: bool = Field(
        False,
        description="true has `orchestrator runtime` remove the Kafka topics of executions that are over; else "
        "`orchestrator executions clean-topics` does, when it is run",
    )
    old_topic_period: Duration = Field(
        3600.0, description="how often topics of executions that are over are looked for"
    )
    waiting_gang_period: Duration = Field(
        2.0, description="how often the containers of executions that start together are held against free slots"
    )
    gang_patience: Duration = Field(
        600.0,
        description="how long containers that start together wait until nothing else uses their slots; then they wait "
        "for others that started together alone, and an execution fails that needs more slots than there are",
    )
    unreported_run_period: Duration = Field(15.0, description="how often executions are looked for that are over")
    unreported_run_age: Duration = Field(
        60.0,
        description="how long an execution whose containers have all ended may go without a report before it fails",
    )
    unstarted_execution_period: Duration = Field(
        60.0, description="how often executions are looked for that nobody has started"
    )
    execution_start_limit: Duration = Field(
        3600.0,
        gt=0,
        description="how long an execution may wait to be started, while no runtime is there or Argo is away; then it "
        "fails",
    )
    silent_module_period: Duration = Field(
        2.0, description="how often modules of problems are looked for that are not heard any more"
    )
    slow_stage_period: Duration = Field(5.0, description="how often stages of problems are looked for that are slow")
    late_iteration_period: Duration = Field(
        5.0, description="how often iterations of problems are looked for that take too long"
    )
    open_command_period: Duration = Field(
        5.0, description="how often commands are looked for that no module takes or applies"
    )
    old_problem_period: Duration = Field(
        3600.0, description="how often iterations of problems are looked for to delete"
    )
    problem_retention: Duration | None = Field(
        None,
        description="how long an iteration of a problem is kept after it has ended, as in 90d. When not set, for ever",
    )
    sweep_time_limit: Duration = Field(
        600.0, gt=0, description="how long a sweep may take; one that hangs longer is ended, and the next does its work"
    )
    sweep_events: bool = Field(
        False,
        description="true has Flower, and whoever else listens, see each sweep: some hundred thousand events a day",
    )
    sweep_batch: PositiveInt = Field(500, description="most things that a sweep takes at once (1 or more)")
