"""What is wrong with a call of this product, in the shapes that its clients know."""

import json

from orchestrator.core.errors import BadRequestError, InvalidAssetError
from orchestrator.executions.forms.form import Problem


class WholeError(BadRequestError):
    """A call that is wrong as a whole.

    Args:
        text: the one text that clients know.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)


class FieldsError(InvalidAssetError):
    """Fields of a call are wrong; its message says it in JSON.

    Args:
        problems: of each, by its name.
    """

    def __init__(self, problems: Problem) -> None:
        super().__init__(json.dumps(problems, ensure_ascii=False))
