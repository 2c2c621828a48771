"""The run of a container step of an execution at one attempt: what stands for its image here."""

from dataclasses import replace

from orchestrator import protos as pb
from workers.consent.images import Image as Entry
from workers.consent.images import Images
from workers.errors import AwayFault, BuildFault
from workers.executors.executor import Environment, Executor, Hosting, Job
from workers.executors.image import AwayError, Image, Imaging
from workers.run.claimed import Claimed
from workers.run.slot import FOLDERS
from workers.settings import WorkerSettings

_SHOWN = 200


class ContainerRun:
    """A container step; nothing of it runs but what the organization's map of images says.

    Args:
        work: what the orchestrator asks for.
        images: the organization's map of images.
    """

    def __init__(self, work: pb.ContainerWork, images: Images) -> None:
        self._work = work
        self._images = images

    @property
    def logs(self) -> str:
        """The command that prints what it says."""
        return f"orchestrator execution logs {self._work.execution} {self._work.step}"

    def produce(self, claimed: Claimed) -> None:
        """Run it to its end; what it makes it hands over by itself.

        Raises:
            Fault: it may not run here, or has failed.
            Stopped: the orchestrator wants the attempt to end.
            Released: this worker ends.
        """
        entry = self._entry(claimed.settings.organization)
        check_entry(self._work.image, entry, claimed.executor, claimed.settings)
        image = None
        if isinstance(claimed.executor, Imaging):
            with claimed.stopwatch.step("prepare_image"):
                image = replace(self._fetch(claimed.executor, entry.runs, claimed), whole=True, entered=True)
        for name in FOLDERS:
            (claimed.folder / name).mkdir()
        job = Job(
            folder=claimed.folder,
            command=[*entry.command, *self._work.args],
            limits=claimed.limits,
            network=entry.network,
            lease=claimed.lease,
            environment=Environment(variables=dict(self._work.env)),
            paths=entry.paths,
            told=False,
            image=image,
            about=claimed.about,
        )
        claimed.execute(job, "command")

    def resume(self, claimed: Claimed) -> None:
        """Go on with it to its end.

        Raises:
            LostRunError: there is nothing to go on with.
            Fault: it has failed.
            Stopped: the orchestrator wants the attempt to end.
            Released: this worker ends.
        """
        claimed.take_over("command")

    def close(self, claimed: Claimed) -> None:
        """Do nothing: what it holds is in its folder."""

    def _fetch(self, executor: Imaging, name: str, claimed: Claimed) -> Image:
        try:
            return executor.fetch(name, claimed.orders.obey)
        except AwayError as error:
            raise AwayFault(str(error)) from error

    def _entry(self, organization: str) -> Entry:
        name = self._work.image[:_SHOWN]
        entry = self._images.get(self._work.image)
        if entry is None:
            raise BuildFault(f"{organization} has no command for the image {name!r} in its map of images")
        if any("\0" in word for word in (*self._work.args, *self._work.env.values())):
            raise BuildFault("an argument or a variable of the step holds a null character, which no command can get")
        strange = sorted(set(self._work.env) - entry.env)
        if strange:
            raise BuildFault(
                f"the step sets the variable {strange[0][:_SHOWN]!r}, which {organization} lets no step set for the "
                f"image {name!r}: its map of images must name it under env"
            )
        return entry


def check_entry(name: str, entry: Entry, executor: Executor, settings: WorkerSettings) -> None:
    """See to it that an executor can run what stands for an image.

    Args:
        name: of the image.
        entry: of the map of images.
        executor: of the worker.
        settings: likewise.

    Raises:
        BuildFault: it cannot.
    """
    able = isinstance(executor, Imaging) if entry.runs else isinstance(executor, Hosting)
    if not able:
        what, others = ("image", "container or kubernetes") if entry.runs else ("command", "sandbox or subprocess")
        raise BuildFault(
            f"the map of images of {settings.organization} has a{'n' if entry.runs else ''} {what} for "
            f"{name[:_SHOWN]!r}, and its executor {settings.executor} runs no {what}s: for those "
            f"ORCHESTRATOR_EXECUTOR must be {others}"
        )
