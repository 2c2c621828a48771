"""The run of a container step of an execution at one attempt: the command that stands for its image here."""

from orchestrator import protos as pb
from workers.consent.images import Image, Images
from workers.errors import BuildFault
from workers.executors.executor import Environment, Hosting, Job
from workers.run.claimed import Claimed
from workers.run.slot import FOLDERS

_SHOWN = 200


class ContainerRun:
    """A container step; nothing of it runs but a command of the organization's own.

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
        image = self._image(claimed.settings.organization)
        if not isinstance(claimed.executor, Hosting):
            raise BuildFault(
                f"the executor {claimed.settings.executor} of {claimed.settings.organization} runs no commands of its "
                "own machine: ORCHESTRATOR_EXECUTOR must be sandbox or subprocess for container steps"
            )
        for name in FOLDERS:
            (claimed.folder / name).mkdir()
        job = Job(
            folder=claimed.folder,
            command=[*image.command, *self._work.args],
            limits=claimed.limits,
            network=image.network,
            lease=claimed.lease,
            environment=Environment(variables=dict(self._work.env)),
            paths=image.paths,
            told=False,
        )
        claimed.execute(job, "command")

    def close(self, claimed: Claimed) -> None:
        """Do nothing: what it holds is in its folder."""

    def _image(self, organization: str) -> Image:
        name = self._work.image[:_SHOWN]
        image = self._images.get(self._work.image)
        if image is None:
            raise BuildFault(f"{organization} has no command for the image {name!r} in its map of images")
        if any("\0" in word for word in (*self._work.args, *self._work.env.values())):
            raise BuildFault("an argument or a variable of the step holds a null character, which no command can get")
        strange = sorted(set(self._work.env) - image.env)
        if strange:
            raise BuildFault(
                f"the step sets the variable {strange[0][:_SHOWN]!r}, which {organization} lets no step set for the "
                f"image {name!r}: its map of images must name it under env"
            )
        return image
