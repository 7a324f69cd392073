"""``toolrt help TOPIC``: what several commands share, told once."""

from __future__ import annotations

from typing import Final

from toolrt_cli.exit_codes import MEANINGS
from toolrt_cli.grammar import GLOBAL, help_lines

_ENVIRONMENT: Final = {
    "TOOLRT_CONFIG": "the configuration file; --config wins over it",
    "TOOLRT_STORE": "the audit store; --store wins over it",
    "TOOLRT_CALLER": "the caller of a call; --as wins over it",
    "TOOLRT_REQUEST_ID": "an id of yours, recorded with the gate event of a call",
    "TOOLRT_DEBUG": "if it is not empty, an unexpected error shows its traceback",
    "NO_COLOR": "if it is not empty, no colour",
    "FORCE_COLOR, CLICOLOR_FORCE": "if not empty and not 0, colour even on a pipe",
    "CLICOLOR": "0 for no colour",
    "COLUMNS": "the width of a line",
    "XDG_CONFIG_HOME, XDG_STATE_HOME": "where the user's config and the store are",
}

_TIME: Final = """\
Times, wherever one is asked for (-S, -U):

  now, today, yesterday          midnight of the day, local time
  90s 15m 2h 7d 2w 1h30m         that long ago; also "2h ago", "-2h", PT2H
  2026-11-20                     midnight of that day, local time
  2026-11-20 10:00[:00]          local time
  10:00                          today, local time
  2026-11-20T10:00:00Z           RFC 3339, with its own offset
  @1763632800                    seconds since 1970
"""

_FILTERS: Final = """\
Filters of toolrt audit tail, query, stats and export:

  'tool=fs.*'            a name, or a pattern with * and ?
  caller=alice,bob       one of several; repeating the field does the same
  'outcome!=success'     not so; not:outcome=success is the same
  'ms>500'  'ms<=2s'     how long the call took

All filters must hold. Quotes keep the shell from reading * ? ! < and > itself.
The fields:
"""


def _known_values() -> list[str]:
    from toolrt_store import DECISIONS, OUTCOMES

    return [
        f"Outcomes: {', '.join(OUTCOMES)}.",
        f"Decisions: {', '.join(DECISIONS)}.",
    ]


def topics() -> dict[str, str]:
    """Return the text of every topic by its name."""
    from toolrt_store import ATTEMPT_FIELDS

    fields = [f"  {name:<14}{about}" for name, about in ATTEMPT_FIELDS.items()]
    variables = [f"  {name:<34}{about}" for name, about in _ENVIRONMENT.items()]
    codes = [f"  {code.value:>3}  {about}" for code, about in MEANINGS.items()]
    options = ["Global options, before or after the command:", "", *help_lines(GLOBAL)]
    return {
        "environment": "\n".join(["Environment variables:", "", *variables, ""]),
        "exit-codes": "\n".join(["Exit codes:", "", *codes, ""]),
        "filters": "\n".join([_FILTERS, *fields, "", *_known_values(), ""]),
        "options": "\n".join([*options, ""]),
        "time": _TIME,
    }
