"""Kinds of assets in events: the contract's, by its numbers, and our own."""

OWN_KINDS = 100
"""Kinds from this number on are our own: clients of the contract never meet them, and a trace keeps its promises
without them."""

BUILD_DELAY = OWN_KINDS + 40
"""That of a function whose build is delayed."""

WORKFLOW_SCHEMA, EXECUTION, CLINICAL_DATA_READ, EXECUTION_STEP = (OWN_KINDS + number for number in range(2, 6))
"""Those of the product of executions."""

(
    STAGE_TASK,
    MODULE_STATUS,
    STAGE_STATUS,
    STAGE_OUTPUT,
    ITERATION_STATUS,
    STAGE_SLOW,
    MODULE_COMMAND,
    CONFIGURATION,
) = (OWN_KINDS + number for number in range(10, 18))
"""Those of the product of problems."""
