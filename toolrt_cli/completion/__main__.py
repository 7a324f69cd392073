"""``python -m toolrt_cli.completion DIR``: what ``make completions`` runs."""

from __future__ import annotations

import sys
from pathlib import Path

from toolrt_cli.completion import write_scripts
from toolrt_cli.exit_codes import Exit

if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one directory
        sys.stderr.write("usage: python -m toolrt_cli.completion DIR\n")
        sys.exit(Exit.USAGE)
    write_scripts(Path(sys.argv[1]))
