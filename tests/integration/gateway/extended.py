"""The `orchestrator` command with the methods and the route of the page on calls."""

import re
from pathlib import Path
from typing import Any

from orchestrator.cli.main import main
from orchestrator.gateway import api, routes
from orchestrator.rpc.methods import METHODS

PAGE = Path(__file__).parents[3] / "docs/extending/calls.md"


def examples() -> dict[str, Any]:
    """Return what the page defines."""
    defined: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(block, str(PAGE), "exec"), defined)
    return defined


if __name__ == "__main__":
    added = examples()
    # In the place of others, whose requests they take: the contract is frozen.
    METHODS["ComputePlanService"]["GetPlan"] = added["method"]
    METHODS["EventService"]["SubscribeToEvents"] = added["stream"]
    METHODS["OrganizationService"]["RegisterOrganization"] = added["parts"]
    del METHODS["InfoService"]["QueryVersion"]
    api.routes_of.__defaults__ = ((*routes.ROUTES, added["route"]),)
    main()
