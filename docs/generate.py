"""Writes the parts of the pages that are made from the code: `make docs`; with `--check` it only compares.

A part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.
"""

import re
import sys
from pathlib import Path

import reference
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from beat.settings import BeatSettings
from orchestrator.broker.settings import FlowerSettings
from orchestrator.core import states
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.gateway.problems.settings import ProblemsHttpSettings
from orchestrator.problems import states as problem_states
from orchestrator.problems.settings import ProblemSettings
from orchestrator.settings import DatabaseSettings, RuleSettings, ServerSettings
from workers.assets.settings import StoreSettings
from workers.runtime.argo import ArgoSettings
from workers.runtime.kafka import KafkaSettings
from workers.runtime.settings import RuntimeSettings
from workers.settings import MemberSettings, OrganizationSettings, WorkerSettings

FOLDER = Path(__file__).parent


def settings_table(
    settings: type[BaseSettings], base: type[BaseSettings] | None = None, prefix: str = "ORCHESTRATOR_"
) -> str:
    """Return the settings of a class as a table; those of its base are left out."""
    rows = ["| variable | what is expected | default |", "|---|---|---|"]
    inherited = base.model_fields if base else {}
    for name, field in settings.model_fields.items():
        if name in inherited:
            continue
        if field.is_required():
            default = "required"
        elif field.default_factory is not None:
            default = "the name of the host"
        elif field.default in (None, ()) or field.default is PydanticUndefined or isinstance(field.default, SecretStr):
            default = "none"
        else:
            default = f"`{field.default}`"
        rows.append(f"| `{prefix}{name.upper()}` | {field.description} | {default} |")
    return "\n".join(rows)


PARTS = {
    "sdk.md": {"names": reference.page()},
    "executions.md": {
        "executions": settings_table(ExecutionSettings, prefix=""),
        "runtime": settings_table(RuntimeSettings, MemberSettings),
        "argo": settings_table(ArgoSettings, prefix=""),
        "kafka": settings_table(KafkaSettings, prefix=""),
    },
    "problems.md": {
        "problems": settings_table(ProblemSettings),
        "stages": problem_states.stages(),
        "modules": problem_states.modules(),
    },
    "problems-http.md": {"http": settings_table(ProblemsHttpSettings, prefix="ORCHESTRATOR_PROBLEMS_")},
    "states.md": {"diagrams": states.diagram()},
    "settings.md": {
        "database": settings_table(DatabaseSettings),
        "rules": settings_table(RuleSettings, DatabaseSettings),
        "server": settings_table(ServerSettings, RuleSettings),
        "beat": settings_table(BeatSettings, RuleSettings),
        "flower": settings_table(FlowerSettings),
        "organization": settings_table(OrganizationSettings),
        "worker": settings_table(WorkerSettings, OrganizationSettings),
        "store": settings_table(StoreSettings, OrganizationSettings),
    },
}


def rendered(page: str, parts: dict[str, str]) -> str:
    """Return a page with its parts made anew.

    Raises:
        ValueError: the page has no place for a part.
    """
    for name, part in parts.items():
        place = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        page, count = place.subn(lambda match, part=part: f"{match[1]}{part}\n{match[2]}", page)
        if count != 1:
            raise ValueError(f"a page has {count} places for {name}")
    return page


def main(check: bool) -> int:
    """Write the pages, or tell which of them are out of date; return the exit code."""
    stale = []
    for name, parts in PARTS.items():
        file = FOLDER / name
        page = rendered(file.read_text(), parts)
        if page != file.read_text():
            stale.append(name)
            if not check:
                file.write_text(page)
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
