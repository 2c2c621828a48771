"""One worker process of an organization: it takes pokes, keeps its attempts alive, ends in order."""

import sys

# structlog imports it where it is there: for nothing here, and a tenth of what an agent takes to start.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
