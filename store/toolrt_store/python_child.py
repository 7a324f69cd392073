"""
Processes of Python that the store starts: this interpreter, and nothing but Python.

-I and -S leave only Python itself; then come the directories where this process found
what is needed, installed or not, so that nothing in them stands for a module of Python.
"""

from __future__ import annotations

import os
import sys
from typing import Final

_NEEDED: Final = ("toolrt_store", "toolrt", "msgspec", "pysqlite3")


def boot(module: str) -> str:
    """Return the code that runs ``main(arguments)`` of *module* and ends with it."""
    return (
        "import sys; n = int(sys.argv[1]); sys.path += sys.argv[2 : 2 + n];"
        f" from {module} import main; sys.exit(main(sys.argv[2 + n :]))"
    )


def command(code: str, *arguments: str) -> list[str]:
    """Return the command line that runs *code*, made by `boot`, with *arguments*."""
    roots = _roots()
    starting = [sys.executable, "-I", "-S", "-c", code]
    return [*starting, str(len(roots)), *roots, *arguments]


def _roots() -> list[str]:
    """Return where the packages that the process needs were found by this one."""
    loaded = [sys.modules[name] for name in _NEEDED if name in sys.modules]
    found = [os.path.abspath(one.__file__) for one in loaded if one.__file__]
    return list(dict.fromkeys(os.path.dirname(os.path.dirname(one)) for one in found))
