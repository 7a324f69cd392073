"""Where a run took place: versions and the machine in general words, no names."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3

import msgspec

from toolrt_store import sqlite

_PACKAGES = ("toolrt", "msgspec", "jsonschema-rs", "pysqlite3", "sqlite-utils", "typer")


def machine() -> dict[str, str]:
    """Return what a reader has to know to compare figures."""
    found = {
        "Python": platform.python_version(),
        "SQLite": _sqlite_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "file system": _file_system(os.getcwd()),
    }
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def label() -> str:
    """Return a short name of a machine like this one."""
    system, arch = platform.system().lower(), platform.machine().lower()
    return f"{system}-{arch}-{os.cpu_count()}cpu"


def _sqlite_version() -> str:
    connection = sqlite.connect(":memory:")
    version: str = connection.execute("SELECT sqlite_version()").fetchone()[0]
    connection.close()
    return f"{version} (standard library: {sqlite3.sqlite_version})"


def _memory() -> str:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{size / 2**30:.0f} GiB"


def _file_system(path: str) -> str:
    """Return the type of the file system that *path* is on, as far as the system tells."""
    try:
        with open("/proc/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return "unknown"
    over = [
        (point, kind)
        for point, kind in mounts
        if os.path.commonpath([point, path]) == point
    ]
    return max(over, key=lambda one: len(one[0]), default=("", "unknown"))[1]


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(machine()), indent=1).decode())
