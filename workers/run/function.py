"""The run of a function at one attempt: prepare it and its inputs, run it, store its outputs."""

from pathlib import Path

from orchestrator import protos as pb
from orchestrator.core import crash
from workers.assets.fetching import Fetcher
from workers.consent.policy import ConsentPolicy
from workers.executors.executor import Job, Resource
from workers.executors.lasting import LostRunError
from workers.functions import program
from workers.functions.environments import Held
from workers.run import inputs, outputs
from workers.run.claimed import Claimed
from workers.run.handover import MOST_COLLECTIONS
from workers.run.slot import FOLDERS, OUTPUTS

# Of a key: what commands take for it.
_SHORT = 8


class FunctionRun:
    """A function that runs beside the data.

    Args:
        claim: what the orchestrator answered.
        fetcher: of what it reads.
        policy: what is consented to.
        prepared: the folder in which the executor has prepared it, if it has.
    """

    def __init__(
        self, claim: pb.ClaimTaskResponse, fetcher: Fetcher, policy: ConsentPolicy, prepared: Path | None
    ) -> None:
        self._claim = claim
        self._fetcher = fetcher
        self._policy = policy
        self._prepared = prepared
        self._held: Held | None = None

    @property
    def logs(self) -> str:
        """The command that prints what it says."""
        return f"orchestrator task logs {self._claim.task.key[:_SHORT]}"

    def produce(self, claimed: Claimed) -> None:
        """Run it; its models lie in the own store then.

        Raises:
            Fault: it cannot run, or has failed.
            Stopped: the orchestrator wants the attempt to end.
            Released: this worker ends.
        """
        claim, settings = self._claim, claimed.settings
        function, given, wanted, _ = (claimed.folder / name for name in FOLDERS)
        if self._prepared is None:
            for name in FOLDERS:
                (claimed.folder / name).mkdir()
        with claimed.stopwatch.step("prepare_function"):
            prepared = program.prepare(
                claim.function,
                function,
                self._fetcher,
                settings,
                claimed.executor,
                self._policy,
                claimed.orders.obey,
            )
            self._held = prepared.held
        claimed.orders.obey()
        with claimed.stopwatch.step("prepare_inputs"):
            read = inputs.prepare(
                claim.input_assets,
                claim.function.inputs,
                given,
                self._fetcher,
                claimed.store,
                settings.organization,
                settings.output_size_limit,
            )
        claimed.orders.obey()
        written = outputs.places(claim.function.outputs, wanted)
        job = Job(
            folder=claimed.folder,
            command=prepared.command,
            limits=claimed.limits,
            rank=claim.task.rank,
            inputs=read,
            outputs=written,
            network=claim.function.owner in self._policy.network,
            lease=claimed.lease,
            prepared=self._prepared,
            environment=prepared.held.environment,
            image=prepared.image,
            devices=claim.function.owner in self._policy.devices,
            about=claimed.about,
        )
        # From here on it is the executor's.
        self._prepared = None
        claimed.execute(job, "function")
        self._collect(claimed, written)

    def resume(self, claimed: Claimed) -> None:
        """Go on with it; its models lie in the own store then.

        Raises:
            LostRunError: there is nothing to go on with.
            Fault: it has failed.
            Stopped: the orchestrator wants the attempt to end.
            Released: this worker ends.
        """
        claimed.take_over("function")
        self._collect(claimed, outputs.places(self._claim.function.outputs, claimed.folder / OUTPUTS))

    def _collect(self, claimed: Claimed, written: list[Resource]) -> None:
        claim, settings = self._claim, claimed.settings
        if claimed.handover.is_there and claimed.handover.collect() >= MOST_COLLECTIONS:
            raise LostRunError(f"its outputs were collected {MOST_COLLECTIONS} times, and its worker died each time")
        with claimed.stopwatch.step("save_outputs"):
            outputs.check(written, settings.output_size_limit)
            outputs.save(
                claim.task.key,
                written,
                claim.function.outputs,
                claimed.store,
                settings.store_url,
                claimed.results,
            )
        crash.point("worker.stored")

    def close(self, claimed: Claimed) -> None:
        """End what was prepared and not used, let go of its environment."""
        if self._prepared is not None:
            claimed.executor.end(self._prepared, 0.0)
        if self._held is not None:
            self._held.close()
