"""SQL: tables and queries, one module per aggregate."""
