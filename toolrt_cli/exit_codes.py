"""
Exit codes, and the one table from errors to codes.

What a code means is design for scripts: it never depends on the output format.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from toolrt import errors
from toolrt.errors import ToolrtError


class Exit(IntEnum):
    """Every exit code of toolrt."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    NOT_FOUND = 4
    CONFIG = 5
    STORE = 6
    INTEGRITY = 7
    INCOMPLETE = 8
    BUSY = 9
    UNRECORDED = 10
    TIMEOUT = 124
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


#: What the codes mean, for help and docs.
MEANINGS: Final = {
    Exit.OK: "done, allowed, expectation met",
    Exit.FAILED: "the tool ran and failed; an expectation was not met; a fault found",
    Exit.USAGE: "usage, malformed JSON, arguments that break the schema",
    Exit.DENIED: "denied: gate, capability, confirmation",
    Exit.NOT_FOUND: "not found: tool, pack, caller, capability, record",
    Exit.CONFIG: "configuration invalid or not trusted",
    Exit.STORE: "audit store cannot be written, is locked or newer: nothing was run",
    Exit.INTEGRITY: "integrity: store, chain, checkpoint, export or cursor file are not as recorded",
    Exit.INCOMPLETE: "incomplete: a wait ran out, the record does not reach so far",
    Exit.BUSY: "rate limited or busy: retry",
    Exit.UNRECORDED: "the tool ran; the record of its end waits in the spool, or is lost",
    Exit.TIMEOUT: "the tool ran past its deadline",
    Exit.INTERRUPTED: "interrupted (SIGINT)",
    Exit.BROKEN_PIPE: "the reader of run's output went away (SIGPIPE)",
    Exit.TERMINATED: "terminated (SIGTERM)",
}

# By stable code and not by type, so that no store need be imported to map its errors.
_BY_CODE: Final = {
    "usage": Exit.USAGE,
    "invalid_input": Exit.USAGE,
    "invalid_namespace": Exit.USAGE,
    "invalid_args": Exit.USAGE,
    "cursor_invalid": Exit.USAGE,
    "cursor_expired": Exit.USAGE,
    "cursor_key": Exit.CONFIG,
    "broker_error": Exit.FAILED,
    "middleware": Exit.FAILED,
    "tool_not_found": Exit.NOT_FOUND,
    "not_found": Exit.NOT_FOUND,
    "store_missing": Exit.NOT_FOUND,
    "config": Exit.CONFIG,
    "config_untrusted": Exit.CONFIG,
    "integrity": Exit.INTEGRITY,
    "rate_limited": Exit.BUSY,
    "audit_unavailable": Exit.STORE,
    "record_lost": Exit.UNRECORDED,
    "record_spooled": Exit.UNRECORDED,
    "store": Exit.STORE,
    "store_unavailable": Exit.STORE,
    "store_locked": Exit.STORE,
    "store_too_new": Exit.STORE,
    "identity_conflict": Exit.STORE,
    "unstorable_event": Exit.STORE,
    "anchor": Exit.STORE,
    "seal_key": Exit.STORE,
    "seal_key_missing": Exit.STORE,
    "not_covered": Exit.INCOMPLETE,
    "select": Exit.USAGE,
    "sink": Exit.STORE,
    "sink_unavailable": Exit.STORE,
    "sink_open": Exit.CONFIG,
}


def exit_code(error: ToolrtError) -> Exit:
    """Return the exit code that *error* ends the command with."""
    cause = error.__cause__
    if isinstance(error, errors.AuditUnavailableError) and isinstance(
        cause, ToolrtError
    ):
        # A dry run whose record is in the spool: no tool ran.
        code = exit_code(cause)
        return Exit.STORE if code is Exit.UNRECORDED else code
    if isinstance(error, errors.ToolTimeoutError):
        return Exit.TIMEOUT
    if isinstance(error, errors.ToolFailedError):  # its code is the tool's own
        return Exit.FAILED
    known = _BY_CODE.get(error.code)
    if known is not None:
        return known
    if isinstance(error, errors.PolicyError):
        return Exit.DENIED
    if isinstance(error, errors.RegistryError):
        return Exit.CONFIG
    return Exit.STORE if isinstance(error, errors.StoreError) else Exit.FAILED
