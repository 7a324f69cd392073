"""The help of ``toolrt run`` and of one tool, drawn from the grammar and the schema."""

from __future__ import annotations

from typing import Any, Final

from toolrt import Tool
from toolrt.schema import signature
from toolrt_cli.escape import escape
from toolrt_cli.grammar import GLOBAL, RUN, help_lines

_EXAMPLES: Final = """\
Examples:
  toolrt run echo.say text=hi
  toolrt run fs.read path=README.md limit=200
  toolrt run fs.grep pattern=TODO --path src --as ci-bot
  toolrt run fs.glob --json-args '{"pattern": "*.toml"}' -o json
"""

_ARGUMENTS: Final = """\
Arguments of the tool:
  name=value      typed by the tool's schema; repeat it for a list
  name:=json      any JSON value
  name@file       the content of a file; name@- reads standard input
  --name value    the same as name=value
  --              what follows belongs to the tool
"""

RUN_HELP: Final = "\n".join(
    [
        "Usage: toolrt run [OPTIONS] TOOL [ARGUMENTS]...",
        "",
        "Call a tool through the gate and keep the record.",
        "",
        _EXAMPLES,
        _ARGUMENTS,
        "Options (after the tool too, unless it has an argument of that name):",
        *help_lines(RUN),
        "",
        "Global options:",
        *help_lines(GLOBAL),
        "",
        "See also: toolrt run TOOL --help, toolrt pack handlers, toolrt help exit-codes",
        "",
    ]
)


def tool_help(tool: Tool) -> str:
    """Return the help of one tool: what it does, needs and takes."""
    definition = tool.definition
    schema = definition.input_schema
    lines = [
        f"Usage: toolrt run {signature(tool.verb, schema)}",
        "",
        escape(definition.description) or "(no description)",
        "",
        f"  tool          {tool.tool_id}",
        f"  effect        {definition.effect}",
        f"  capabilities  {', '.join(definition.capabilities) or 'none'}",
        f"  deadline      {tool.limits.timeout_s:g} s",
        f"  output limit  {tool.limits.max_output_bytes} bytes",
    ]
    properties = schema.get("properties", {})
    if properties:
        width = max(map(len, properties)) + 2
        lines += ["", "Arguments:"]
        lines += [
            f"  {n:<{width}}{_about(n, s, schema)}" for n, s in properties.items()
        ]
    elif schema.get("additionalProperties", True):
        lines += ["", "Takes any arguments."]
    return "\n".join([*lines, ""])


def _about(name: str, spec: Any, schema: Any) -> str:
    """Return ``type, required or default. Description.`` of one argument."""
    text = signature("", {"properties": {name: spec}, "additionalProperties": False})
    kind = text.strip("()[]").partition(": ")[2].partition(" = ")[0]
    status = "required" if name in schema.get("required", ()) else "optional"
    if "default" in spec:
        from toolrt_cli.output import to_json

        status = f"default {to_json(spec['default'])}"
    about = escape(str(spec.get("description", "")))
    return f"{kind}, {status}" + (f". {about}" if about else "")
