"""``shell.exec``: a command line, given to ``/bin/sh``."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, Final

from toolrt.bindings.process import MAX_STDERR_BYTES, Finished, run_process
from toolrt.context import CallContext
from toolrt.errors import ArgFault, InvalidArgsError, ToolError, ToolTimeoutError
from toolrt.std import paths
from toolrt.std.deadline import require_time
from toolrt.std.settings import StdSettings

SHELL: Final = "/bin/sh"
#: What a command finds in its environment, if it is set here.
ENV: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
_CUT: Final = f"\n[cut after {MAX_STDERR_BYTES} bytes]\n"


def run(
    settings: StdSettings,
    ctx: CallContext,
    command: str,
    cwd: str = ".",
    stdin: str | None = None,
) -> dict[str, Any]:
    """
    Run *command* in the directory *cwd* and return how it ended and what it wrote.

    A status that is not 0 is a result like any other; below 0 it is the signal that
    ended the shell. Bytes that are no UTF-8 are replaced; of standard error, what
    is beyond `MAX_STDERR_BYTES` is left out and a last line says so.

    Raises:
        ToolError: The codes of `paths.open_inside`, ``NOT_A_DIR``, ``OUTPUT_LIMIT``,
            ``ARGUMENTS_TOO_LARGE`` or ``NOT_STARTED``.

        ToolTimeoutError: The call's time was used up; nothing of the command is left.

        InvalidArgsError: An argument is no text that a command can be given.
    """
    line = _encoded("command", command)
    if b"\0" in line:
        raise InvalidArgsError([ArgFault("command", "must not hold a NUL character")])
    given = None if stdin is None else _encoded("stdin", stdin)
    opened = paths.open_inside(settings.roots, cwd)
    try:
        if not opened.is_dir:
            raise ToolError("NOT_A_DIR", f"{cwd} is no directory")
        finished = run_process(
            [SHELL, "-c", "--", os.fsdecode(line)],
            env={name: os.environ[name] for name in ENV if name in os.environ},
            cwd=_path_of(opened.fd),
            stdin=given,
            timeout_s=require_time(ctx),
            max_output_bytes=ctx.max_output_bytes,
        )
    except OSError as exc:
        raise _start_error(exc) from exc
    finally:
        os.close(opened.fd)
    return _result(finished, ctx)


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        fault = ArgFault(name, "must be Unicode text")
        raise InvalidArgsError([fault]) from exc


def _path_of(fd: int) -> str:
    """Return a path of the directory open at *fd* that no rename can turn elsewhere."""
    if sys.platform != "linux":
        import fcntl

        # The path has to do here: what it names may be replaced until it is used.
        path = fcntl.fcntl(fd, fcntl.F_GETPATH, bytes(1024))
        return os.fsdecode(path.rstrip(b"\0"))
    return f"/proc/self/fd/{fd}"


def _start_error(exc: OSError) -> ToolError:
    if exc.errno == errno.E2BIG:
        return ToolError(
            "ARGUMENTS_TOO_LARGE", "the command is over the system's limit"
        )
    reason = os.strerror(exc.errno or errno.EIO)
    return ToolError("NOT_STARTED", f"{SHELL}: {reason}", retryable=True)


def _result(finished: Finished, ctx: CallContext) -> dict[str, Any]:
    if finished.timed_out:
        raise ToolTimeoutError(ctx.timeout_s, tool_id=ctx.tool_id)
    if finished.overflow:
        raise ToolError(
            "OUTPUT_LIMIT", f"more than {ctx.max_output_bytes} bytes of output"
        )
    stderr = finished.stderr.decode("utf-8", "replace")
    if len(finished.stderr) >= MAX_STDERR_BYTES:
        stderr += _CUT
    return {
        "exit_code": finished.returncode,
        "stdout": finished.stdout.decode("utf-8", "replace"),
        "stderr": stderr,
    }
