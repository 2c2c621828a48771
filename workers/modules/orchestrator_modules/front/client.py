"""placeholder"""


class OrchestratorNode:
    pass


class OrchestratorNodeHandle:
    pass
