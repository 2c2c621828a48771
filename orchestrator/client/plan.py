"""Compute plans that read as what they do: train at each hospital, aggregate, train again, test.

plan = client.plan("breast cancer", tag="demo")
shared = None
for _ in range(5):
    models = [
        plan.train(function=train, data_manager=h.manager, data_samples=h.samples, shared=shared, permissions="hub")
        for h in hospitals
    ]
    shared = plan.aggregate(function=average, models=models, worker="hub", permissions=[h.name for h in hospitals])
for h in hospitals:
    plan.test(function=test, data_manager=h.manager, data_samples=h.test_samples, model=shared)
plan.submit()
plan.wait()
print(plan.scores())
"""

import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from orchestrator import protos as pb
from orchestrator.client import keys, plan_file
from orchestrator.client.continuation import Continuation
from orchestrator.client.errors import PlanError
from orchestrator.client.scores import Scores
from orchestrator.client.shown import Shown
from orchestrator.client.steps import Result, Steps
from orchestrator.client.task import Input, Inputs, LookUp, Permissions, Task, build, identifier, share_models, texts

if TYPE_CHECKING:
    from orchestrator.client.check import Check
    from orchestrator.client.live import Live

Submission = TypeVar("Submission")

BATCH = 1000
"""Tasks that are added to a registered plan with one call."""


class Plan(Shown, Generic[Submission]):
    """A compute plan that is being built; `Client.plan` and `AsyncClient.plan` make them.

    Functions are given by their key, or as the message that the orchestrator answers. What a task's outputs may be
    used for is said by `permissions`: which organizations besides the owner, and PUBLIC for every one of the channel.

    Args:
        new: the plan without its tasks.
        declaration: returns a function as the orchestrator has it, by its key.
        look_up: looks up the keys that tasks are given.
        submit: registers what is not registered yet.
        scores: asks for what a plan has measured.
        client: whose plan it is.

    Attributes:
        message: the plan without its tasks.
        key: the key that the plan will have.
        tasks: in the order in which they were added.
        registered: whether the orchestrator has the plan.
        submitted: how many of the tasks it has, too.
        sending: the tasks whose registration was sent, but not answered.
        live: what a notebook shows of it since it was submitted.
    """

    def __init__(
        self,
        new: pb.NewComputePlan,
        declaration: Callable[[str], pb.Function],
        look_up: LookUp,
        submit: "Callable[[Plan[Submission], int, bool], Submission]",
        scores: "Callable[[Plan[Submission]], Scores | Awaitable[Scores]]",
        client: Any = None,
    ) -> None:
        self.message = new
        self.key = new.key
        self.tasks: list[Task] = []
        self.registered = False
        self.submitted = 0
        self.sending: list[Task] | None = None
        self.live: Live | None = None
        self._declaration = declaration
        self._look_up = look_up
        self._submit = submit
        self._scores = scores
        self._client = client

    def facts(self) -> Mapping[str, object]:
        """Return what is shown."""
        tag = {"tag": self.message.tag} if self.message.tag else {}
        functions = Counter(task.function.name for task in self.tasks)
        kinds = ", ".join(f"{number} {name}" for name, number in functions.items())
        registered = f"{self.submitted} of {len(self.tasks)} tasks" if self.registered else "not yet: submit() does it"
        tasks = f"{len(self.tasks)} ({kinds})" if kinds else "none yet"
        return {"name": self.message.name, **tag, "key": self.key, "tasks": tasks, "registered": registered}

    def task(
        self,
        *,
        function: str | pb.Function,
        inputs: Inputs | None = None,
        outputs: Mapping[str, Permissions | pb.NewComputeTaskOutput] | None = None,
        worker: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Task:
        """Add a task of any kind.

        Args:
            function: what it runs.
            inputs: identifier -> an asset, its key, what an earlier task will produce, or several of them.
            outputs: identifier -> who may use it; those left out are their owner's alone, performances public.
            worker: the organization that runs it; may be left to the data manager, if the function takes one.
            metadata: anything, for people.

        Raises:
            PlanError: the function declares something else, or a key is none, or none of what is asked for there.
            CallError: a key cannot be looked up.
        """
        declared = self._declared(function)
        task = build(self.key, declared, inputs or {}, outputs or {}, worker, metadata or {}, self._look_up)
        self.tasks.append(task)
        return task

    def train(
        self,
        *,
        function: str | pb.Function,
        data_manager: str | pb.DataManager,
        data_samples: Iterable[str | pb.DataSample],
        shared: Input | None = None,
        permissions: Permissions = (),
        metadata: Mapping[str, str] | None = None,
    ) -> Task:
        """Add a task that learns from data, where the data are.

        Args:
            function: takes data and perhaps a model, and makes models.
            data_manager: of the organization that will run it.
            data_samples: what to learn from.
            shared: the model to go on from; None begins anew.
            permissions: who may use the models it makes.
            metadata: anything, for people.

        Raises:
            PlanError: the function declares something else, or a key is none, or none of what is asked for there.
            CallError: a key cannot be looked up.
        """
        return self._on_data(function, data_manager, data_samples, "shared", shared, permissions, metadata)

    def predict(
        self,
        *,
        function: str | pb.Function,
        data_manager: str | pb.DataManager,
        data_samples: Iterable[str | pb.DataSample],
        model: Input,
        permissions: Permissions = (),
        metadata: Mapping[str, str] | None = None,
    ) -> Task:
        """Add a task that applies a model to data; the arguments are those of `train`."""
        return self._on_data(function, data_manager, data_samples, "model", model, permissions, metadata)

    def test(
        self,
        *,
        function: str | pb.Function,
        data_manager: str | pb.DataManager,
        data_samples: Iterable[str | pb.DataSample],
        model: Input,
        metadata: Mapping[str, str] | None = None,
    ) -> Task:
        """Add a task that measures how good a model, or a prediction, is; the arguments are those of `train`."""
        return self._on_data(function, data_manager, data_samples, "model", model, (), metadata)

    def aggregate(
        self,
        *,
        function: str | pb.Function,
        models: Iterable[Input],
        worker: str,
        permissions: Permissions = (),
        metadata: Mapping[str, str] | None = None,
    ) -> Task:
        """Add a task that makes one model of several.

        Args:
            function: takes models, and makes models.
            models: which; the worker must be permitted to use them.
            worker: the organization that runs it.
            permissions: who may use the models it makes.
            metadata: anything, for people.

        Raises:
            PlanError: the function declares something else, or a key is none, or none of what is asked for there.
            CallError: a key cannot be looked up.
        """
        declared = self._declared(function)
        inputs: Inputs = {identifier(declared, pb.ASSET_MODEL, "models"): models}
        outputs = share_models(declared, permissions)
        return self.task(function=declared, inputs=inputs, outputs=outputs, worker=worker, metadata=metadata)

    def submit(self, batch: int = BATCH, *, bar: bool = True) -> Submission:
        """Register the plan with its tasks, whole or not at all; later, those that were added since.

        An answer that is lost registers nothing twice. How much was sent is shown by a bar, which in a notebook goes
        on after that, and shows how far the plan is, until it has ended.

        Args:
            batch: tasks that are added with one call later, or at an orchestrator that takes no whole plans; all of
                them or none.
            bar: whether to show one, in a terminal (on the standard error) or a notebook; elsewhere none is shown.

        Raises:
            CallError: the orchestrator refused, or does not answer; where tasks were added later, the batches before
                are registered. OE0006: it has another content under the plan's key.
        """
        return self._submit(self, batch, bar)

    @overload
    def scores(self: "Plan[None]") -> Scores: ...
    @overload
    def scores(self: "Plan[Awaitable[None]]") -> Awaitable[Scores]: ...
    def scores(self: "Plan[Any]") -> Scores | Awaitable[Scores]:
        """Return what its tasks have measured so far; a table by round and organization where it is shown.

        Raises:
            CallError: it is not registered, or the orchestrator does not answer.
        """
        return self._scores(self)

    @overload
    def wait(self: "Plan[None]", timeout: float | None = None, *, bar: bool = True) -> str: ...
    @overload
    def wait(self: "Plan[Awaitable[None]]", timeout: float | None = None, *, bar: bool = True) -> Awaitable[str]: ...
    def wait(self: "Plan[Any]", timeout: float | None = None, *, bar: bool = True) -> str | Awaitable[str]:
        """Return the word Done once the plan is; how far it is until then is shown by a bar.

        Args:
            timeout: seconds; None for as long as it takes.
            bar: whether to show one, in a terminal (on the standard error) or a notebook; elsewhere none is shown.

        Raises:
            PlanEndedError: it failed or was cancelled; with the reason, the end of the log where that may be read,
                and what to do next.
            TimeoutError: it has not ended yet; it goes on. With what its first task waits for.
            PlanError: it has no tasks, so it would never end.
            CallError: it is not registered, or the orchestrator does not answer.
        """
        if not self.tasks:
            raise PlanError(f"compute plan {self.key} has no tasks and would never end: add some, and submit() it")
        ended: str | Awaitable[str] = self._client.wait(self, timeout, bar)
        return ended

    def save(self, path: Path | str) -> None:
        """Write it to a JSON file, for `Client.load`, `orchestrator plan check` and `orchestrator plan submit`.

        Raises:
            OSError: the file cannot be written.
        """
        plan_file.write(Path(path), self.message, [task.message for task in self.tasks])

    @overload
    def check(self: "Plan[None]") -> "Check": ...
    @overload
    def check(self: "Plan[Awaitable[None]]") -> "Awaitable[Check]": ...
    def check(self: "Plan[Any]") -> "Check | Awaitable[Check]":
        """Return what is wrong with it, and what its tasks would wait for now; see `Client.check`."""
        found: Check | Awaitable[Check] = self._client.check(self)
        return found

    @overload
    def retry(self: "Plan[None]", **changes: Any) -> "Continuation": ...
    @overload
    def retry(self: "Plan[Awaitable[None]]", **changes: Any) -> "Awaitable[Continuation]": ...
    def retry(self: "Plan[Any]", **changes: Any) -> "Continuation | Awaitable[Continuation]":
        """Register a new plan of what is not Done of it; the arguments are those of `Client.retry`."""
        made: Continuation | Awaitable[Continuation] = self._client.retry(self, **changes)
        return made

    @overload
    def rerun(self: "Plan[None]", **changes: Any) -> "Continuation": ...
    @overload
    def rerun(self: "Plan[Awaitable[None]]", **changes: Any) -> "Awaitable[Continuation]": ...
    def rerun(self: "Plan[Any]", **changes: Any) -> "Continuation | Awaitable[Continuation]":
        """Register a new plan like it, of what has changed; the arguments are those of `Client.rerun`."""
        made: Continuation | Awaitable[Continuation] = self._client.rerun(self, **changes)
        return made

    def _on_data(
        self,
        function: str | pb.Function,
        data_manager: str | pb.DataManager,
        data_samples: Iterable[str | pb.DataSample],
        role: str,
        model: Input | None,
        shared_with: Permissions,
        metadata: Mapping[str, str] | None,
    ) -> Task:
        declared = self._declared(function)
        inputs: dict[str, Input | Iterable[Input]] = {
            identifier(declared, pb.ASSET_DATA_MANAGER, "opener"): data_manager,
            identifier(declared, pb.ASSET_DATA_SAMPLE, "datasamples"): data_samples,
        }
        if model is not None:
            inputs[identifier(declared, pb.ASSET_MODEL, role)] = model
        outputs = share_models(declared, shared_with)
        return self.task(function=declared, inputs=inputs, outputs=outputs, metadata=metadata)

    def _declared(self, function: str | pb.Function) -> pb.Function:
        if isinstance(function, pb.Function):
            return function
        if not isinstance(function, str):
            raise PlanError(
                f"a function is given itself or by its key, not as a value of type {type(function).__name__}"
            )
        try:
            return self._declaration(keys.spelled(function, "a function"))
        except PlanError:
            raise
        except ValueError as error:
            raise PlanError(str(error)) from None


def new_plan(name: str, key: str | None, tag: str, metadata: Mapping[str, str] | None) -> pb.NewComputePlan:
    """Return a compute plan without tasks; its key is random unless given, and spelled as the orchestrator does.

    Raises:
        ValueError: the key is no UUID, or metadata are no texts.
    """
    key = str(uuid.uuid4()) if key is None else keys.checked(key, "a compute plan")
    return pb.NewComputePlan(key=key, name=name, tag=tag, metadata=texts(metadata))


Known: TypeAlias = Plan[Any] | Continuation | pb.ComputePlan | str
"""A compute plan, its key, or as much of its beginning as no other has."""


def load(plan: Plan[Any], path: Path | str) -> None:
    """Make a new plan the one of a file that `Plan.save` wrote; what its tasks' functions declare is not known."""
    message, tasks = plan_file.read(Path(path))
    plan.message.CopyFrom(message)
    plan.key = message.key
    plan.tasks = [Task(task, pb.Function()) for task in tasks]


def key_of(plan: Known) -> str:
    """Return the key, or the beginning of one, of a compute plan that is given itself or by that.

    Raises:
        ValueError: it is no UUID, and begins none.
    """
    return keys.key_of(plan, "a compute plan", Plan, Continuation, pb.ComputePlan)


def of(plan: Known, do: Callable[[str], Steps[Result]]) -> Steps[Result]:
    """Do something with the whole key of a compute plan.

    Args:
        plan: itself, or its key, or the beginning of that.
        do: takes the key.

    Raises:
        ValueError: no key, or more than one, begins so.
        CallError: the orchestrator does not answer.
    """
    return (yield from do((yield from keys.whole(key_of(plan), pb.ASSET_COMPUTE_PLAN))))
