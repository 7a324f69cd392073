"""
The command binding: a command line in the configuration becomes a handler.

No shell is asked. Every element of the template is one element of the command line,
whatever the values hold; a value can only become an option where the template says so.
What a process is and how it ends is `toolrt.bindings.process`, imported by the first
call: this module is loaded at every start.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from toolrt.context import CallContext
from toolrt.errors import ArgFault, InvalidArgsError, ToolError, ToolTimeoutError
from toolrt.pack import Binding
from toolrt.secrets import BrokerError, RedactedString, SecretBundle, variable_of

Output = Literal["text", "json", "ndjson", "lines"]

#: What every command finds in its environment, if it is set here.
BASE_ENV: Final = ("PATH", "LANG", "LC_ALL", "TZ")
MAX_MESSAGE_BYTES: Final = 4096
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class CommandSpec(msgspec.Struct, frozen=True, kw_only=True):
    """
    A command tool as it is declared.

    ``command`` is the template: ``{name}`` stands for an argument, ``{{`` and ``}}`` for
    braces. ``env`` names the variables let through besides `BASE_ENV`; ``stdin`` the
    argument whose text the command reads; ``cwd`` is its working directory.
    ``exit_codes`` gives the error code of an exit status, ``OK`` for a success.
    ``allow_dash`` names the arguments that may begin with ``-``. ``secrets`` names what
    the command finds in its environment as `toolrt.secrets.variable_of` spells it; they
    never stand on its command line.
    """

    command: tuple[str, ...]
    output: Output = "text"
    env: tuple[str, ...] = ()
    stdin: str | None = None
    cwd: str | None = None
    exit_codes: Mapping[str, str] = {}
    allow_dash: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class _Placeholder(msgspec.Struct, frozen=True):
    name: str


_Slot = tuple[str | _Placeholder, ...]


def template_arguments(command: tuple[str, ...]) -> tuple[str, ...]:
    """
    Return the names of the placeholders in *command*, each once, in order.

    Raises:
        ValueError: A brace has no partner, or there is no name between two.
    """
    parts = [part for slot in command for part in _parse_slot(slot)]
    names = [part.name for part in parts if isinstance(part, _Placeholder)]
    return tuple(dict.fromkeys(names))


def _parse_slot(text: str) -> _Slot:
    parts: list[str | _Placeholder] = []
    literal = ""
    for token in _TOKEN.finditer(text):
        name = token[1]
        if name is None:
            if token[0] in ("{", "}"):
                msg = f"{text!r}: unbalanced {token[0]!r}; write {token[0] * 2!r} for a brace"
                raise ValueError(msg)
            literal += {"{{": "{", "}}": "}"}.get(token[0], token[0])
            continue
        if not _NAME.fullmatch(name):
            msg = f"{text!r}: {name!r} is no argument name; write '{{{{' for a brace"
            raise ValueError(msg)
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_Placeholder(name))
    return (*parts, literal) if literal or not parts else tuple(parts)


def secret_faults(
    secrets: Sequence[str], env: Sequence[str]
) -> Iterator[tuple[int, str]]:
    """Yield the index of each secret whose variable is taken, and by what."""
    taken = dict.fromkeys(env, "which env lets through")
    taken |= dict.fromkeys(BASE_ENV, "which every command has")
    for index, name in enumerate(secrets):
        variable = variable_of(name)
        if variable in taken:
            where = taken[variable]
            yield index, f"secret {name!r} is the variable {variable}, {where}"
        taken.setdefault(variable, f"as is secret {name!r}")


def bind_command(spec: CommandSpec) -> Binding:
    """
    Return the code of the command tool *spec*.

    The executable is looked up on the PATH at the first call and remembered. A call
    raises `ToolError` for a command that cannot be built, started or understood or that
    fails, `BrokerError` for one that needs secrets and was given none, and
    `ToolTimeoutError` at the deadline.

    Raises:
        ValueError: The template is empty or malformed, an argument would choose the
            executable, or a secret's variable is taken.
    """
    for _, problem in secret_faults(spec.secrets, spec.env):
        raise ValueError(problem)
    if not spec.command:
        msg = "a command needs an executable"
        raise ValueError(msg)
    name, *rest = (_parse_slot(slot) for slot in spec.command)
    if len(name) != 1 or not isinstance(name[0], str) or not name[0]:
        msg = f"{spec.command[0]!r}: the executable is fixed, not an argument"
        raise ValueError(msg)
    return _Command(spec, name[0], tuple(rest))


class _Command:
    """A command tool; immutable but for the executable, once it has been found."""

    def __init__(self, spec: CommandSpec, name: str, slots: tuple[_Slot, ...]) -> None:
        self._spec = spec
        self._name = name
        self._slots = slots
        self._executable: str | None = None

    def __call__(self, params: dict[str, Any], ctx: CallContext) -> Any:
        spec = self._spec
        argv = [self._found()]
        for slot in self._slots:
            argv += _render(slot, params, spec.allow_dash)
        given = None if spec.stdin is None else params.get(spec.stdin)
        stdin = None if given is None else _encoded(_text(given), str(spec.stdin))
        env = _environment(spec.env) | _secret_variables(spec.secrets, ctx.secrets)
        remaining_s = ctx.remaining()
        if remaining_s <= 0:
            raise ToolTimeoutError(ctx.timeout_s, tool_id=ctx.tool_id)
        return _value(spec, self._run(argv, env, stdin, remaining_s, ctx))

    def _found(self) -> str:
        if self._executable is None:
            self._executable = _find(self._name, os.environ.get("PATH", os.defpath))
        return self._executable

    def _run(
        self,
        argv: list[str],
        env: dict[str, str],
        stdin: bytes | None,
        remaining_s: float,
        ctx: CallContext,
    ) -> bytes:
        """Return the output of a run that succeeded."""
        from toolrt.bindings.process import run_process

        spec = self._spec
        try:
            finished = run_process(
                argv,
                env=env,
                cwd=spec.cwd,
                stdin=stdin,
                timeout_s=remaining_s,
                max_output_bytes=ctx.max_output_bytes,
            )
        except OSError as exc:
            raise _spawn_error(exc, argv[0], spec.cwd) from exc
        if finished.timed_out:
            raise ToolTimeoutError(ctx.timeout_s, tool_id=ctx.tool_id)
        if finished.overflow:
            raise ToolError(
                "OUTPUT_LIMIT", f"more than {ctx.max_output_bytes} bytes of output"
            )
        code = _failure_code(finished.returncode, spec.exit_codes)
        if code is not None:
            message = finished.stderr[:MAX_MESSAGE_BYTES].decode("utf-8", "replace")
            raise ToolError(code, message.rstrip())
        return finished.stdout


def _failure_code(returncode: int, exit_codes: Mapping[str, str]) -> str | None:
    """Return the error code of an exit status, None for a success."""
    if returncode < 0:
        from signal import Signals

        try:
            return "SIGNAL_" + Signals(-returncode).name.removeprefix("SIG")
        except ValueError:  # a real-time signal
            return f"SIGNAL_{-returncode}"
    code = exit_codes.get(str(returncode), f"EXIT_{returncode}" if returncode else "OK")
    return None if code.upper() in ("", "OK") else code


def _find(name: str, path: str) -> str:
    """Return the absolute path of the executable *name*, searched along *path*."""
    if "/" in name:
        if not name.startswith("/"):  # it would depend on where toolrt is called
            raise ToolError(
                "NO_SUCH_COMMAND", f"{name}: neither absolute nor a name on the PATH"
            )
        return name  # to start it tells best what is wrong with it
    for directory in path.split(os.pathsep):
        candidate = f"{directory}/{name}"
        # An empty or relative directory is the working one, where anyone may write.
        if directory.startswith("/") and _is_executable(candidate):
            return candidate
    raise ToolError("NO_SUCH_COMMAND", f"{name} is not on the PATH")


def _is_executable(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and os.access(path, os.X_OK)


def _environment(names: tuple[str, ...]) -> dict[str, str]:
    allowed = (*BASE_ENV, *names)
    return {name: os.environ[name] for name in allowed if name in os.environ}


def _secret_variables(
    names: tuple[str, ...], bundle: SecretBundle | None
) -> dict[str, str]:
    if not names:
        return {}
    # A command cannot tell a secret that it was not given from one that it does not
    # need: it is not started, rather than let act as nobody.
    if bundle is None:
        raise BrokerError("the caller has none, or no broker is configured")
    return {variable_of(name): _variable(name, bundle.get(name)) for name in names}


def _variable(name: str, secret: RedactedString | None) -> str:
    """Return *secret* as text that an environment can hold."""
    value = "" if secret is None else secret.expose()
    if not value:
        raise BrokerError("the broker left it out", secret=name)
    if "\0" in value:
        raise BrokerError("holds a NUL character", secret=name)
    try:
        os.fsencode(value)
    except UnicodeEncodeError:  # which would carry the secret along
        raise BrokerError("is no Unicode text", secret=name) from None
    return value


def _render(
    slot: _Slot, params: Mapping[str, Any], allow_dash: tuple[str, ...]
) -> list[str]:
    """
    Return the elements of the command line that *slot* becomes.

    One, as a rule. None if an argument of it is absent or null; one for each item if
    the slot is only an argument and that is a list.
    """
    names = [part.name for part in slot if isinstance(part, _Placeholder)]
    if any(params.get(name) is None for name in names):
        return []
    if len(slot) == len(names) == 1 and isinstance(params[names[0]], list):
        rows = [{names[0]: item} for item in params[names[0]] if item is not None]
        return [_join(slot, row, allow_dash) for row in rows]
    return [_join(slot, params, allow_dash)]


def _join(slot: _Slot, params: Mapping[str, Any], allow_dash: tuple[str, ...]) -> str:
    texts = []
    for part in slot:
        if isinstance(part, str):
            texts.append(part)
            continue
        text = _text(params[part.name])
        _encoded(text, part.name)
        if "\0" in text:
            raise _refused(part.name, "must not hold a NUL character")
        texts.append(text)
    joined = "".join(texts)
    if joined.startswith("-") and isinstance(slot[0], _Placeholder):
        # Empty values before it do not make another part any less the first.
        first = next(p for p, text in zip(slot, texts, strict=True) if text)
        blamed = first if isinstance(first, _Placeholder) else slot[0]
        if blamed.name not in allow_dash:
            raise _refused(blamed.name, _NO_DASH)
    return joined


_NO_DASH: Final = (
    "must not begin with -, as an option does (a file may be named ./-x; allow_dash in"
    " the handler's table lets it through)"
)


def _refused(name: str, rule: str) -> InvalidArgsError:
    return InvalidArgsError([ArgFault(name, rule)])


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _encoded(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise ToolError("ENCODING", f"argument {name} is no Unicode text") from exc


def _spawn_error(exc: OSError, executable: str, cwd: str | None) -> ToolError:
    import errno

    if cwd is not None and exc.filename == cwd:
        return ToolError(
            "NO_SUCH_DIRECTORY", f"working directory {cwd}: {exc.strerror}"
        )
    if isinstance(exc, FileNotFoundError):
        return ToolError(
            "NO_SUCH_COMMAND", f"{executable} or its interpreter does not exist"
        )
    if isinstance(exc, PermissionError) or exc.errno == errno.ENOEXEC:
        return ToolError("NOT_EXECUTABLE", f"{executable} cannot be executed")
    if exc.errno == errno.E2BIG:
        return ToolError(
            "ARGUMENTS_TOO_LARGE", "the arguments are over the system's limit"
        )
    reason = os.strerror(exc.errno or errno.EIO)
    return ToolError("NOT_STARTED", f"{executable}: {reason}", retryable=True)


def _value(spec: CommandSpec, data: bytes) -> Any:
    """Return the output *data* as the value that ``output`` says."""
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise ToolError(
            "ENCODING", f"the output is not UTF-8 at byte {exc.start}"
        ) from exc
    if spec.output == "text":
        return text
    if spec.output == "json":
        return _parsed(text, first_line=1)
    lines = text.removesuffix("\n").split("\n") if text else []
    if spec.output == "lines":
        return [line.removesuffix("\r") for line in lines]
    return [
        _parsed(line, first_line=number)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _parsed(text: str, *, first_line: int) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as exc:
        found = re.search(r"\(byte (\d+)\)", str(exc))
        data = text.encode()
        before = data[: int(found[1])] if found else data  # cut off: at its end
        line = first_line + before.count(b"\n")
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        problem = f"the output is no JSON at line {line}, column {column}"
        raise ToolError("BAD_OUTPUT", problem) from exc
    except RecursionError as exc:
        raise ToolError("BAD_OUTPUT", "the output is nested too deep") from exc
