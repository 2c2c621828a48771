"""The database schema's history (Alembic), and how to bring a database up to date.

A migration must be compatible with the code that runs before it and with the code that comes with it.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from orchestrator.store.database import sqlalchemy_url


def upgrade(url: str) -> None:
    """Apply the migrations that a database lacks; several processes may do so at once.

    Args:
        url: `postgresql://…`.
    """
    engine = create_engine(sqlalchemy_url(url))
    try:
        with engine.connect() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def lag(url: str) -> tuple[str | None, str | None]:
    """Return a database's revision and the newest one; they are equal when nothing is to be applied."""
    engine = create_engine(sqlalchemy_url(url))
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return current, ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
