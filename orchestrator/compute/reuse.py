"""What of a compute plan must run again when another continues it: rules, on values read beforehand."""

import hashlib
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from orchestrator import protos as pb

Task = TypeVar("Task", bound=Hashable)
Output = TypeVar("Output", bound=Hashable)


def again(
    needs: Mapping[Task, Iterable[tuple[Task, Output]]],
    reusable: Collection[Task],
    gone: Collection[tuple[Task, Output]],
) -> set[Task]:
    """Return the tasks that must run again.

    They are those that cannot be reused, and those that one of them needs an output of which is gone.

    Args:
        needs: each task, with the outputs of others that it is given; those of tasks that are no key are ignored.
        reusable: the tasks whose results may stand.
        gone: the outputs that nobody has any more.
    """
    found = {task for task in needs if task not in reusable}
    waiting = list(found)
    while waiting:
        for parent, output in needs[waiting.pop()]:
            if parent in needs and parent not in found and (parent, output) in gone:
                found.add(parent)
                waiting.append(parent)
    return found


@dataclass(frozen=True)
class Known:
    """What tasks refer to, each by its key.

    Args:
        functions: what they run.
        data_managers: the inputs of that kind.
        data_samples: the inputs of that kind.
        models: the inputs of that kind.
    """

    functions: Mapping[str, pb.Function]
    data_managers: Mapping[str, pb.DataManager]
    data_samples: Mapping[str, pb.DataSample]
    models: Mapping[str, pb.Model]

    def content(self, key: str) -> str:
        """Return what says of an input, as far as it is given by its key, whether it has changed."""
        if key in self.data_managers:
            manager = self.data_managers[key]
            return f"{manager.owner} {manager.opener.checksum.lower()}"
        if key in self.data_samples:
            return self.data_samples[key].checksum.lower()
        if key in self.models:
            return self.models[key].address.checksum.lower() or key
        return key


def contents(tasks: Mapping[str, pb.NewComputeTask], known: Known) -> dict[str, bytes]:
    """Return a digest of the content of each task: what it runs, on what, where, and for whom.

    Two tasks of one content would do the same. Keys are no part of it, but checksums are, and the contents of parents.

    Args:
        tasks: parents before children; parents that are no key count by theirs.
        known: what they refer to.
    """
    found: dict[str, bytes] = {}
    for key, task in tasks.items():
        function = known.functions.get(task.function_key)
        digest = hashlib.sha256()

        def add(*words: str, digest: "hashlib._Hash" = digest) -> None:
            for word in words:
                digest.update(f"{len(word)}:{word}".encode())

        add(function.archive.checksum.lower() if function else task.function_key, task.worker)
        for name, value in sorted(task.metadata.items()):
            add(name, value)
        for name, output in sorted(task.outputs.items()):
            add("output", name, str(output.transient), str(output.permissions.public))
            add(*sorted(set(output.permissions.authorized_ids)))
        for given in task.inputs:
            ref = given.parent_task_output
            if given.WhichOneof("ref") == "parent_task_output":
                parent = found.get(ref.parent_task_key)
                add("made", given.identifier, ref.output_identifier, parent.hex() if parent else ref.parent_task_key)
            else:
                add("given", given.identifier, known.content(given.asset_key))
        found[key] = digest.digest()
    return found
