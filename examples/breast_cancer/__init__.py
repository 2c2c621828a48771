"""Three hospitals train one model that tells malignant from benign tumours, and no patient leaves home."""

from pathlib import Path

FUNCTIONS = Path(__file__).parent / "functions"
"""One folder per function (`train`, `aggregate`, `test`), each to be packed and registered."""

OPENER = Path(__file__).parent / "opener" / "__init__.py"
"""The file that every hospital registers with its data manager."""
