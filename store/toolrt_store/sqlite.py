"""
The one place that chooses an SQLite: pysqlite3 where it is installed, else sqlite3.

SQLite 3.7.0 to 3.51.2 can corrupt a WAL database when two connections checkpoint at
once; the wheels of pysqlite3 bring a later one. Everything else imports from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3 as sqlite
else:
    try:
        from pysqlite3 import dbapi2 as sqlite
    except ImportError:
        import sqlite3 as sqlite

Connection = sqlite.Connection
Cursor = sqlite.Cursor
Error = sqlite.Error
IntegrityError = sqlite.IntegrityError
Warning = sqlite.Warning  # noqa: A001 - its name in the module
SQLITE_VERSION = sqlite.sqlite_version
connect = sqlite.connect

__all__ = [
    "SQLITE_VERSION",
    "Connection",
    "Cursor",
    "Error",
    "IntegrityError",
    "Warning",
    "connect",
]
