"""`orchestrator token`: made, listed and revoked in the database."""

from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from orchestrator.access import tokens
from orchestrator.cli.main import main
from orchestrator.core.errors import UnauthenticatedError
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import Database

from .commands import run


def invoke(database: Database, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments], env={"ORCHESTRATOR_DATABASE_URL": database.url})


def verify(database: Database, shown: str) -> tokens.Token:
    with database.begin() as connection:
        return tokens.verify(connection, shown, datetime.now(UTC))


def test_a_token_is_shown_once_listed_and_revoked(database: Database):
    made = invoke(database, "create", "--org", "org-1", "--channel", "a", "--channel", "b", "--days", "30")
    assert made.exit_code == 0, made.output
    shown = made.stdout.strip()
    token = verify(database, shown)
    assert (token.organization, token.channels) == ("org-1", {"a", "b"})
    assert token.ends_at - token.created_at == timedelta(days=30)
    assert "it is not shown again" in made.stderr
    listed = invoke(database, "list").stdout
    assert shown.rpartition("_")[2] not in listed
    assert listed.split()[-8:-4] == [token.id, "org-1", "a,", "b"]
    assert listed.split()[-1] == "counts"
    assert invoke(database, "revoke", token.id).stdout == f"token {token.id} of org-1 is revoked\n"
    with pytest.raises(UnauthenticatedError):
        verify(database, shown)
    assert invoke(database, "list").stdout.split()[-1] == "revoked"


def test_what_cannot_be_done_is_told_in_a_line(database: Database, postgres: Postgres):
    unknown = invoke(database, "revoke", "none")
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        "Error: there is no token none; `orchestrator token list` names them\n",
    )
    for wrong in (["--channel", "a"], ["--org", "org-1"], ["--org", "o", "--channel", "a", "--days", "0"]):
        assert invoke(database, "create", *wrong).exit_code == 2
    empty = Database(postgres.create_database("token_without_tables"))
    assert "run `orchestrator migrate`" in invoke(empty, "list").stderr
    assert invoke(Database("postgresql://nobody@127.0.0.1:1/none"), "list").exit_code == 1


def test_the_command_as_a_process(database: Database):
    code, shown, _ = run(
        "token", "create", "--org", "org-1", "--channel", "a", environment={"ORCHESTRATOR_DATABASE_URL": database.url}
    )
    assert code == 0
    assert verify(database, shown.strip()).organization == "org-1"
