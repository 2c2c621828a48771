"""What a console and a notebook show of the SDK's objects; names are the text of others, and stay text."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from orchestrator.client.printing import printable

SHORT_KEY = 8
"""Letters of a key that lines for people show."""


class Shown:
    """An object that shows a few facts of itself: in one line where it is printed, as a table in a notebook."""

    def facts(self) -> Mapping[str, object]:
        """Return what is shown, by its names."""
        raise NotImplementedError

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.facts().items())
        return f"{type(self).__name__}({told})"

    def _repr_html_(self) -> str:
        rows = [[name, str(value)] for name, value in self.facts().items()]
        return table([type(self).__name__, ""], rows, "left")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "right") -> str:
    """Return a table as HTML.

    Args:
        head: names of the columns.
        rows: their texts; the first of each is its name.
        align: to where, `left` or `right`; notebooks differ where nothing is said.
    """
    begin = f'<td style="text-align:{align}">'
    titles = "".join(f"<th>{text(cell)}</th>" for cell in head)
    lines = "".join(
        f"<tr><th>{text(name)}</th>{''.join(f'{begin}{text(cell)}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"


def text(given: str) -> str:
    """Return text of others as HTML that shows it and does nothing."""
    return escape(printable(given))
