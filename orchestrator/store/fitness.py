"""What a process needs of the Postgres that it was given: a version, and rights on our tables."""

from sqlalchemy import text

from orchestrator.store.connection import Connection
from orchestrator.store.tables import metadata

OLDEST = 15
"""The first Postgres that is tried."""

_VERSION = text("""
    SELECT CAST(current_setting('server_version_num') AS integer) / 10000, current_setting('server_version')
""")

# Only the migrations write to it.
_READ = "compatibility"

_MISSING = text("""
    SELECT current_user AS role, string_agg(DISTINCT privilege, ', ') AS privileges,
           string_agg(DISTINCT name, ', ') AS names
    FROM unnest(CAST(:tables AS text[])) AS name
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege)
    HAVING count(*) > 0
""")


def complaint(connection: Connection) -> str:
    """Return what the server or the role lacks, in one line; empty where nothing is."""
    major, version = connection.execute(_VERSION).one()
    if major < OLDEST:
        return f"the database is Postgres {version}, which is not supported: {OLDEST} or newer is needed"
    found = connection.execute(_MISSING, {"tables": sorted(metadata.tables.keys() - {_READ})}).one_or_none()
    if found is None:
        return ""
    lacks = f"the database role {found.role} lacks {found.privileges} on {found.names}"
    return f"{lacks}: grant it what docs/operate/database.md says under Rights"
