"""What a notebook shows of an error: the lines of its user, and what it says."""

from IPython.core.interactiveshell import InteractiveShell

CELL = """
from orchestrator.client import Client
def mine():
    with Client("127.0.0.1:1", "org-1", "channel", timeout=5) as client:
        client.ping()
mine()
"""


def test_lines_that_are_not_the_users_are_left_out(capsys):
    InteractiveShell.instance(colors="nocolor").run_cell(CELL)
    InteractiveShell.clear_instance()
    head, *lines = capsys.readouterr().out.split("\n\n")
    assert head.splitlines()[1].startswith("CallError ")
    assert "mine()" in head
    assert "client.ping()" in lines[0]
    assert lines[-1].startswith("CallError: UNAVAILABLE: ")
    assert not [line for line in (head, *lines) if "_channel.py" in line or "connection.py" in line]
