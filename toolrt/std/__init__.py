"""
The built-in pack ``std``: what it declares.

The tools themselves live in the modules beside this one, each imported by the first call
that needs it: the pack is built at every start, its code is not needed at most of them.
For the same reason the schemas are written out and not derived from signatures.
"""

from __future__ import annotations

from typing import Any, Final

from toolrt.context import CallContext
from toolrt.pack import HandlerDef, Pack, VerbCategory
from toolrt.schema import ANYTHING, Schema
from toolrt.std.settings import DEFAULT_SETTINGS, StdSettings

__all__ = ["StdSettings", "std_pack"]

_PATH_ERRORS: Final = ("NOT_FOUND", "OUTSIDE_ROOTS", "NOT_A_FILE", "PERMISSION", "IO")


def std_pack(settings: StdSettings = DEFAULT_SETTINGS, *, version: str = "") -> Pack:
    """Return a new pack ``std`` that works under *settings*."""

    def read(params: dict[str, Any], ctx: CallContext) -> str:
        from toolrt.std import files

        return files.read(settings, ctx, **params)

    def grep(params: dict[str, Any], ctx: CallContext) -> list[dict[str, Any]]:
        from toolrt.std import files

        return files.grep(settings, ctx, **params)

    def glob(params: dict[str, Any], ctx: CallContext) -> list[str]:
        from toolrt.std import files

        return files.glob(settings, ctx, **params)

    def write(params: dict[str, Any], ctx: CallContext) -> dict[str, Any]:
        from toolrt.std import writing

        return writing.write(settings, ctx, **params)

    def edit(params: dict[str, Any], ctx: CallContext) -> dict[str, Any]:
        from toolrt.std import writing

        return writing.edit(settings, ctx, **params)

    def run(params: dict[str, Any], ctx: CallContext) -> dict[str, Any]:
        from toolrt.std import shell

        return shell.run(settings, ctx, **params)

    def fetch(params: dict[str, Any], ctx: CallContext) -> dict[str, Any]:
        from toolrt.std import fetch

        return fetch.fetch(settings, ctx, **params)

    pack = Pack("std", description="Built-in tools", source="built-in", version=version)
    for definition, call in (
        (_ECHO_SAY, _say),
        (_FS_EDIT, edit),
        (_FS_GLOB, glob),
        (_FS_GREP, grep),
        (_FS_READ, read),
        (_FS_WRITE, write),
        (_HTTP_FETCH, fetch),
        (_SHELL_EXEC, run),
        (_SYS_INFO, _info),
    ):
        pack.bind(
            definition,
            call,
            ends_itself=definition is _SHELL_EXEC,
            has_sure_schemas=True,
        )
    return pack


def _say(params: dict[str, Any], _ctx: CallContext) -> dict[str, Any]:
    return {"echoed": params}


def _info(_params: dict[str, Any], _ctx: CallContext) -> dict[str, Any]:
    from toolrt.std import system

    return system.info()


def _arguments(*required: str, **properties: dict[str, Any]) -> Schema:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    schema["additionalProperties"] = False
    return schema


def _results(**types: str) -> Schema:
    properties = {name: {"type": one} for name, one in types.items()}
    return {"type": "object", "properties": properties, "required": list(types)}


_ECHO_SAY: Final = HandlerDef(
    name="echo.say",
    description="Give back the arguments as they came.",
    input_schema=ANYTHING,
    tier="hot",
)

_FS_READ: Final = HandlerDef(
    name="fs.read",
    description="Read a UTF-8 text file, whole or in part.",
    input_schema=_arguments(
        "path",
        path={"type": "string", "description": "The file."},
        offset={
            "type": "integer",
            "minimum": 0,
            "maximum": 2**63 - 1,
            "default": 0,
            "description": "The byte to start at.",
        },
        limit={
            "type": ["integer", "null"],
            "minimum": 1,
            "default": None,
            "description": "Bytes at most; a character cut in two is left out.",
        },
    ),
    output_schema={"type": "string"},
    capabilities=("fs:read",),
    errors=(*_PATH_ERRORS, "IS_DIR", "TOO_LARGE", "ENCODING"),
)

_FS_GREP: Final = HandlerDef(
    name="fs.grep",
    description="Search text files for a regular expression, line by line.",
    input_schema=_arguments(
        "pattern",
        pattern={"type": "string", "description": "A Python regular expression."},
        path={
            "type": "string",
            "default": ".",
            "description": "A file, or a directory that is searched with all below it.",
        },
        glob={
            "type": "string",
            "default": "**/*",
            "description": "Which files below path; without a / it is for their names.",
        },
        ignore_case={"type": "boolean", "default": False},
        max_matches={
            "type": "integer",
            "minimum": 1,
            "maximum": 10_000,
            "default": 100,
        },
    ),
    capabilities=("fs:read",),
    errors=(*_PATH_ERRORS, "BAD_PATTERN"),
)

_FS_GLOB: Final = HandlerDef(
    name="fs.glob",
    description="List the files whose path matches a pattern; ** is any directories.",
    input_schema=_arguments(
        "pattern",
        pattern={"type": "string", "description": "Such as src/**/*.py."},
        path={
            "type": "string",
            "default": ".",
            "description": "The directory that the pattern is relative to.",
        },
        max_results={
            "type": "integer",
            "minimum": 1,
            "maximum": 10_000,
            "default": 1000,
        },
    ),
    output_schema={"type": "array", "items": {"type": "string"}},
    capabilities=("fs:read",),
    errors=(*_PATH_ERRORS, "NOT_A_DIR", "BAD_PATTERN"),
)

_FS_WRITE: Final = HandlerDef(
    name="fs.write",
    description="Write a UTF-8 text file, whole or not at all.",
    category=VerbCategory.COMMISSIVE,
    input_schema=_arguments(
        "path",
        "text",
        path={"type": "string", "description": "The file; never a link."},
        text={"type": "string", "description": "All that the file is to hold."},
        create={
            "type": "string",
            "enum": ["new", "replace", "either"],
            "default": "either",
            "description": "Whether the file must not, must or may exist.",
        },
        parents={
            "type": "boolean",
            "default": False,
            "description": "Make the directories that are missing.",
        },
    ),
    output_schema=_results(
        path="string", bytes="integer", created="boolean", sha256="string"
    ),
    capabilities=("fs:write",),
    effect="write",
    errors=(*_PATH_ERRORS, "EXISTS", "IS_DIR", "TOO_LARGE", "ENCODING"),
)

_FS_EDIT: Final = HandlerDef(
    name="fs.edit",
    description="Replace an exact text in a UTF-8 text file.",
    category=VerbCategory.COMMISSIVE,
    input_schema=_arguments(
        "path",
        "old",
        "new",
        path={"type": "string", "description": "The file; never a link."},
        old={
            "type": "string",
            "minLength": 1,
            "description": "The text to replace; it is in the file once.",
        },
        new={"type": "string", "description": "The text to put there."},
        all={
            "type": "boolean",
            "default": False,
            "description": "Replace it wherever it is.",
        },
        expected_sha256={
            "type": ["string", "null"],
            "pattern": "^[0-9a-f]{64}$",
            "default": None,
            "description": "What fs.write or fs.edit gave: refuse any other content.",
        },
    ),
    output_schema=_results(path="string", replaced="integer", sha256="string"),
    capabilities=("fs:read", "fs:write"),
    effect="write",
    errors=(
        *_PATH_ERRORS,
        "IS_DIR",
        "NO_MATCH",
        "AMBIGUOUS",
        "FILE_MODIFIED",
        "TOO_LARGE",
        "ENCODING",
    ),
)

_SHELL_EXEC: Final = HandlerDef(
    name="shell.exec",
    description="Run a command line with /bin/sh.",
    category=VerbCategory.DIRECTIVE,
    input_schema=_arguments(
        "command",
        command={"type": "string", "description": "What sh -c is given."},
        cwd={
            "type": "string",
            "default": ".",
            "description": "The directory it runs in.",
        },
        stdin={
            "type": ["string", "null"],
            "default": None,
            "description": "The text that it reads; none by default.",
        },
    ),
    output_schema=_results(exit_code="integer", stdout="string", stderr="string"),
    capabilities=("shell:exec",),
    effect="destructive",
    tier="cold",
    errors=(
        *_PATH_ERRORS,
        "NOT_A_DIR",
        "OUTPUT_LIMIT",
        "ARGUMENTS_TOO_LARGE",
        "NOT_STARTED",
    ),
)

_HTTP_FETCH: Final = HandlerDef(
    name="http.fetch",
    description="Fetch what is at an http or https URL.",
    category=VerbCategory.DIRECTIVE,
    input_schema=_arguments(
        "url",
        url={"type": "string", "description": "Without a user name."},
        method={"type": "string", "enum": ["GET", "HEAD"], "default": "GET"},
        headers={
            "type": "object",
            "additionalProperties": {"type": "string"},
            "default": {},
            "description": "Header fields to send, by name.",
        },
        max_bytes={
            "type": "integer",
            "minimum": 1,
            "maximum": 16 * 1024 * 1024,
            "default": 1024 * 1024,
            "description": "The body at most, and never more than std.max_bytes.",
        },
    ),
    capabilities=("net:fetch",),
    tier="cold",
    errors=(
        "PRIVATE_ADDRESS_BLOCKED",
        "DNS_FAILED",
        "CONNECT_FAILED",
        "TLS_FAILED",
        "TOO_MANY_REDIRECTS",
        "TOO_LARGE",
        "BAD_RESPONSE",
    ),
)

_SYS_INFO: Final = HandlerDef(
    name="sys.info",
    description="Tell the operating system, the Python version and the processor count.",
    input_schema=_arguments(),
    tier="hot",
)
