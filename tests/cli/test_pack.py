"""``toolrt pack``, end to end."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt_cli.version import VERSION

from .conftest import Cli

WriteConfig = Callable[[str], Path]

WITH_PACKAGES = """
[runtime]
packs = ["std", "mine", "mypackage:pack", "mypackage:missing", "needy:more", "needy:pack", "min"]
[callers.alice]
capabilities = ["fs:read"]
[pack.mine]
description = "Mine"
[pack.mine.handler."mine.say"]
description = "Say \\u001b[31mit"
command = ["echo", "{word}"]
[pack.mine.handler."mine.say".args]
word = { type = "string" }
"""

MODULE = """
from toolrt import Pack

pack = Pack("mypackage", version="1.2", requires=["std"])

@pack.handler("my.verb", capabilities=["my:thing"], effect="write")
def verb(size: int = 3) -> int:
    '''Do it.'''
    return size

@pack.handler("my.inner", visibility="subhandler")
def inner() -> None: ...

@pack.handler("my.shy", hidden=True)
def shy() -> None: ...
"""


@pytest.fixture
def packages(config: WriteConfig, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (home / "mypackage.py").write_text(MODULE)
    (home / "needy.py").write_text(
        "from toolrt import Pack\npack = Pack('needy', requires=['std', 'missing'])\n"
        "more = Pack('needier', requires=['needy'])"
    )
    monkeypatch.syspath_prepend(home)
    return config(WITH_PACKAGES)


def test_a_fresh_machine_has_the_built_in_pack(cli: Cli) -> None:
    """One row, TSV without a header on a pipe."""
    ran = cli("pack", "list")

    assert ran.out == f"std\t{VERSION}\t9\tok\tbuilt-in\t\n"


def test_a_broken_pack_is_a_row_and_takes_its_dependents_along(
    cli: Cli, packages: Path
) -> None:
    """The others are listed, exit 0, the reason on stderr; in JSON in the rows alone."""
    ran = cli("pack", "list", "-o", "json")
    told = cli("pack", "list").err

    rows = {item["pack"]: item for item in ran.document["items"]}
    assert ran.code == 0
    assert rows["mypackage"]["version"] == "1.2"
    assert rows["mypackage"]["source"] == "mypackage:pack"
    assert rows["mine"]["source"] == f"{packages}:6"
    assert rows["mypackage:missing"]["status"] == "broken"
    assert "AttributeError" in rows["mypackage:missing"]["error"]
    assert rows["needy"]["error"] == "requires 'missing', which could not be loaded"
    assert rows["needy"]["source"] == "needy:pack"
    assert rows["needier"]["error"] == "requires 'needy', which could not be loaded"
    assert rows["min"]["error"].startswith("not installed; installed packs: ")
    assert "pack mypackage:missing is not loaded" in told
    assert ran.err == ""


def test_handlers_have_signature_capability_and_source(
    cli: Cli, packages: Path
) -> None:
    """The item that docs/cli.md lists; public verbs only."""
    document = cli("pack", "handlers", "mypackage", "-o", "json").document

    (item,) = document["items"]
    assert document["schema"] == "toolrt.handlers/1"
    assert item.pop("source").endswith("mypackage.py:6")
    assert item == {
        "pack": "mypackage",
        "version": "1.2",
        "verb": "my.verb",
        "tool": "mypackage:my.verb",
        "signature": "my.verb([size: integer = 3])",
        "description": "Do it.",
        "capabilities": ["my:thing"],
        "effect": "write",
        "tier": "warm",
        "visibility": "verb",
    }


def test_sub_handlers_and_hidden_tools_only_with_all(cli: Cli, packages: Path) -> None:
    """--all lists them with their visibility."""
    ran = cli("pack", "handlers", "mypackage", "--all", "-o", "name")

    assert ran.out == "my.verb\nmy.inner\nmy.shy\n"


def test_an_unknown_pack_is_4_with_near_names(cli: Cli) -> None:
    """A typo is an error, not an empty list."""
    ran = cli("pack", "handlers", "sdt")

    assert ran.code == 4
    assert "unknown pack 'sdt'" in ran.err
    assert "did you mean std?" in ran.err


def test_a_tool_is_shown_with_schema_and_callers(cli: Cli, packages: Path) -> None:
    """Everything about one tool, and who is granted what it needs."""
    document = cli("pack", "show", "std:fs.read", "-o", "json").document
    text = cli("pack", "show", "fs.read").out

    assert document["schema"] == "toolrt.handler/1"
    assert document["callers"] == ["alice"]
    assert document["input_schema"]["required"] == ["path"]
    assert "fs.read(path: string," in text
    assert "callers       alice" in text


def test_a_tool_that_nobody_may_call_says_so(cli: Cli, packages: Path) -> None:
    """An empty list of callers is put into words."""
    assert "nobody is granted what it needs" in cli("pack", "show", "my.verb").out


def test_an_unknown_tool_is_4(cli: Cli) -> None:
    """Near names are suggested."""
    ran = cli("pack", "show", "fs.raed", "-o", "json")

    assert (ran.code, ran.error["code"]) == (4, "tool_not_found")


def test_text_from_a_config_is_rendered_harmless(cli: Cli, packages: Path) -> None:
    """An escape sequence in a description is shown, not sent."""
    text = cli("pack", "show", "mine.say").out

    assert "\x1b" not in text
    assert "Say \\x1b[31mit" in text


@pytest.mark.parametrize("fmt", ["table", "csv", "md", "jsonl", "name"])
def test_every_format_lists_every_tool(cli: Cli, fmt: str) -> None:
    """All formats hold the same tools."""
    out = cli("pack", "handlers", "-o", fmt).out

    verbs = (
        "echo.say", "fs.edit", "fs.glob", "fs.grep", "fs.read", "fs.write",
        "http.fetch", "shell.exec", "sys.info",
    )  # fmt: skip
    assert all(verb in out for verb in verbs)
    if fmt == "jsonl":
        assert [json.loads(line)["verb"] for line in out.splitlines()] == [*verbs]


def test_packs_that_do_not_fit_are_a_config_fault(
    cli: Cli, packages: Path, home: Path, config: WriteConfig
) -> None:
    """A verb that two packs offer is exit 5 and names both."""
    path = config(
        """
        [runtime]
        packs = ["a", "b"]
        [pack.a.handler.x]
        command = ["true"]
        [pack.b.handler.x]
        command = ["true"]
        """
    )

    for words in (["pack", "handlers"], ["run", "x"], ["config", "validate"]):
        ran = cli(*words)
        assert ran.code == 5
        assert "public in pack 'a' and in pack 'b'" in ran.err
        assert f"{path}:3:" in ran.err


PRINTING = """
print("at import")
from toolrt import Pack
import os, sys

pack = Pack("noisy")

@pack.handler("noisy.say")
def say() -> str:
    print("in the handler")
    os.system("echo from a child")
    return "result"

@pack.handler("noisy.leave")
def leave() -> None:
    sys.exit(7)
"""


def test_what_packs_print_is_no_data(
    shell: Cli, config: WriteConfig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prints of a pack, of its handlers and of their children go to stderr."""
    (home / "noisy.py").write_text(PRINTING)
    monkeypatch.setenv("PYTHONPATH", str(home))
    config('[runtime]\npacks = ["noisy:pack"]\n')

    ran = shell("run", "noisy.say", "-o", "json")
    listed = shell("pack", "handlers", "-o", "json")

    assert ran.document["result"] == "result"
    assert [item["verb"] for item in listed.document["items"]] == [
        "noisy.say",
        "noisy.leave",
    ]
    assert all(
        words in ran.err for words in ("at import", "in the handler", "from a child")
    )


def test_a_handler_cannot_choose_the_exit_code(
    shell: Cli, config: WriteConfig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sys.exit in a handler is a failure of the tool; in a module a broken pack."""
    (home / "noisy.py").write_text(PRINTING)
    (home / "leaving.py").write_text("raise SystemExit(9)")
    monkeypatch.setenv("PYTHONPATH", str(home))
    config('[runtime]\npacks = ["std", "noisy:pack", "leaving:pack"]\n')

    left = shell("run", "noisy.leave")
    other = shell("run", "echo.say")

    assert left.code == 1
    assert "INTERNAL" in left.err
    assert other.code == 0
    assert "pack leaving:pack is not loaded: " in other.err


def test_config_validate_names_every_pack_that_is_broken(
    cli: Cli, packages: Path
) -> None:
    """Each at its place in the list; an unknown one with a name that is near."""
    ran = cli("config", "validate", "-o", "json")

    faults = ran.error["faults"]
    assert ran.code == 5
    assert [fault["key_path"][-1] for fault in faults] == [3, 6, 5, 4]
    assert faults[1]["suggestion"] == 'did you mean "mine"?'


def test_a_requirement_that_nobody_lists_is_a_fault_of_the_config(
    cli: Cli, config: WriteConfig
) -> None:
    """Where nothing is broken it is not loaded around: the list is wrong."""
    config(
        """[runtime]\npacks = ["std", "mine"]\n[pack.mine]\nrequires = ["no", "no"]\n"""
    )

    ran = cli("run", "echo.say")

    assert ran.code == 5
    assert "pack 'mine' requires 'no', not registered" in ran.err
    assert ran.err.count("'no'") == 1
