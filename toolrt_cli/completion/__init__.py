"""
The completion scripts, generated from the commands and options themselves.

`description` says once what can stand on a command line; one module a shell writes it
down. The scripts ask ``toolrt __complete`` for every name that depends on the config.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["FILES", "SHELLS", "script", "write_scripts"]

#: Where the script of each shell is kept, by the name that its loader looks for.
FILES: Final = {
    "bash": "toolrt.bash",
    "zsh": "_toolrt",
    "fish": "toolrt.fish",
    "powershell": "toolrt.ps1",
}
SHELLS: Final = ("bash", "zsh", "fish", "powershell")


def script(shell: str) -> str:
    """
    Return the completion script of *shell*, the same text every time.

    Raises:
        ValueError: *shell* is none of `SHELLS`.
    """
    from toolrt_cli.completion import bash, fish, powershell, zsh
    from toolrt_cli.completion.description import describe

    renderers = {
        "bash": bash.render,
        "zsh": zsh.render,
        "fish": fish.render,
        "powershell": powershell.render,
    }
    if shell not in renderers:
        raise ValueError(f"no shell {shell!r}: one of {', '.join(SHELLS)}")
    return renderers[shell](describe())


def write_scripts(directory: Path) -> None:
    """
    Write the scripts of all shells into *directory*, which is made if it is missing.

    Raises:
        OSError: A file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for shell, name in FILES.items():
        (directory / name).write_text(script(shell), encoding="utf-8", newline="\n")
