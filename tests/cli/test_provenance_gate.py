"""The gate beside a grant, and calls that were denied: which rule, from the record."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli
from .stores import store_path

WriteConfig = Callable[[str], Path]

GRANTED = '[callers.alice]\ncapabilities = ["fs:*", "shell:exec"]\n'


def rules(*texts: str, default: str = "allow") -> str:
    head = f'[gate]\nkind = "rules"\ndefault = "{default}"\n'
    return head + "".join(f"[[gate.rule]]\n{text}\n" for text in texts)


DENY_WRITES = 'decision = "deny"\nverbs = ["fs.write"]\nreason = "no writes"'


def outlook(cli: Cli, capability: str = "fs:write") -> dict[str, tuple[str, str]]:
    document = cli("provenance", "explain", "alice", capability, "--json").document
    return {i["tool"]: (i["decision"], i["reason"]) for i in document["gate"]}


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        pytest.param("", "allow", id="no gate"),
        pytest.param(rules(), "allow", id="default allow"),
        pytest.param(rules(default="deny"), "deny", id="default deny"),
        pytest.param(rules(DENY_WRITES), "deny", id="a rule"),
        pytest.param(
            rules('decision = "allow"\ncallers = ["al*"]', DENY_WRITES),
            "allow",
            id="an allow before it",
        ),
        pytest.param(
            rules(DENY_WRITES + '\nargs = {"/path" = "/etc"}'),
            "depends",
            id="by an argument",
        ),
        pytest.param(
            rules(DENY_WRITES + '\nactors = ["os:root"]'), "depends", id="by the actor"
        ),
        pytest.param(
            rules(DENY_WRITES + '\nactors = ["*"]'), "deny", id="by any actor"
        ),
        pytest.param(
            rules(
                'decision = "allow"\nverbs = ["fs.write"]\nargs = {"/path" = "a"}',
                default="deny",
            ),
            "depends",
            id="allowed for one argument",
        ),
        pytest.param(
            rules(DENY_WRITES + '\nargs = {"/path" = "/etc"}', DENY_WRITES),
            "deny",
            id="denied either way",
        ),
        pytest.param(
            rules('decision = "deny"\ncallers = ["bob"]'), "allow", id="of another"
        ),
        pytest.param(
            rules('decision = "deny"\neffects = ["read"]'), "allow", id="of reads"
        ),
    ],
)
def test_the_gate_is_foretold_as_far_as_it_can_be(
    cli: Cli, config: WriteConfig, gate: str, expected: str
) -> None:
    """First match wins; what only the call tells makes it depend."""
    config(gate + GRANTED)

    assert outlook(cli)["std:fs.write"][0] == expected


def test_a_gate_in_python_cannot_be_foretold(cli: Cli, config: WriteConfig) -> None:
    """It is asked at the call."""
    config('[gate]\nkind = "python:toolrt:AllowAllGate"\n' + GRANTED)

    assert outlook(cli)["std:fs.write"][0] == "unknown"
    assert "! the gate is asked at the call of std:fs.write" in (
        cli("provenance", "explain", "alice", "fs:write").out
    )


def test_a_grant_that_the_gate_denies_is_said(cli: Cli, config: WriteConfig) -> None:
    """The capability is there, and the call would be refused: both in one answer."""
    path = config(rules(DENY_WRITES) + GRANTED)

    ran = cli("provenance", "explain", "alice", "fs:write")

    assert ran.code == 0
    assert (
        f"! the gate denies std:fs.write all the same: {path}:4 no writes\n" in ran.out
    )


def test_a_refusal_says_that_the_gate_would_deny_anyway(
    cli: Cli, config: WriteConfig
) -> None:
    """Adding the rule would not be enough."""
    config(rules(DENY_WRITES) + '[callers.alice]\ncapabilities = ["repo:read"]\n')

    out = cli("provenance", "explain", "alice", "fs:write").out

    assert "! the gate would deny std:fs.write anyway: " in out


class TestDenied:
    """``audit show`` of a call that was denied"""

    def test_the_rule_is_named_as_it_stood_then(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """From the policy of the call, not from today's file."""
        path = config(rules(DENY_WRITES) + GRANTED)
        cli("run", "fs.write", "path=a", "text=x", "--as", "alice")
        config("")

        ran = cli("audit", "show", "@last")
        denial = cli("audit", "show", "@last", "--json").document["denial"]

        assert denial["by"] == "gate"
        (rule,) = denial["rules"]
        assert (rule["file"], rule["line"]) == (str(path), 4)
        assert "DENY  by the gate: no writes\n" in ran.out
        assert f"✗ gate rule {path}:4: verbs fs.write\n" in ran.out

    def test_rules_that_only_arguments_tell_apart_are_all_named(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Arguments are not on record, so it does not pick one."""
        first = DENY_WRITES + '\nargs = {"/path" = "a"}'
        config(rules(first, DENY_WRITES) + GRANTED)
        cli("run", "fs.write", "path=b", "text=x", "--as", "alice")

        out = cli("audit", "show", "@last").out

        assert "one of these, which only the arguments could tell apart:\n" in out
        assert "argument /path\n" in out

    def test_a_rule_for_others_is_not_named(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Neither the same reason for another verb, nor another reason."""
        other = DENY_WRITES.replace("fs.write", "fs.read")
        late = 'decision = "deny"\nverbs = ["fs.*"]\nreason = "another reason"'
        config(rules(other, DENY_WRITES, late) + GRANTED)
        cli("run", "fs.write", "path=b", "text=x", "--as", "alice")

        denial = cli("audit", "show", "@last", "--json").document["denial"]

        assert [rule["conditions"] for rule in denial["rules"]] == [["verbs fs.write"]]

    def test_the_default_is_named(self, cli: Cli, config: WriteConfig) -> None:
        """No rule matched, and the default denies."""
        config(rules(default="deny") + GRANTED)
        cli("run", "echo.say", "--as", "alice")

        denial = cli("audit", "show", "@last", "--json").document["denial"]

        assert [rule["kind"] for rule in denial["rules"]] == ["default"]

    def test_an_actor_that_may_not_call_so_is_named(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """With the line that lists who may."""
        path = config('[callers.bot]\nactors = ["os:deploy"]\n')
        cli("run", "echo.say", "--as", "bot")

        out = cli("audit", "show", "@last").out

        assert f"✗ actors {path}:2: os:deploy\n" in out

    def test_a_missing_yes_is_no_rule(self, cli: Cli, config: WriteConfig) -> None:
        """Nobody confirmed: the reason is there, and no rule is made up for it."""
        config(GRANTED)
        cli("run", "shell.exec", "command=ls", "--as", "alice")

        ran = cli("audit", "show", "@last")

        assert "DENY  by the gate: " in ran.out
        assert "✗ no rule on record gives this reason\n" in ran.out

    def test_missing_capabilities_are_explained_each(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """The same tree as explain, from what was recorded."""
        path = config('[callers.alice]\ncapabilities = ["fs:raed"]\n')
        cli("run", "fs.read", "path=a", "--as", "alice")
        config("")

        ran = cli("audit", "show", "@last")
        denial = cli("audit", "show", "@last", "--json").document["denial"]

        (missing,) = denial["missing"]
        assert denial["by"] == "capability"
        assert (missing["capability"], missing["decision"]) == ("fs:read", "deny")
        assert missing["rejected"][0]["source"] == {
            "file": str(path),
            "line": 2,
            "column": 17,
        }
        assert "DENY  lacks fs:read\n" in ran.out
        assert "    DENY  alice may not use fs:read\n" in ran.out

    def test_a_gate_that_could_not_decide_is_told_so(
        self, cli: Cli, config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It raised: what it said is not on record."""
        monkeypatch.syspath_prepend(str(Path.cwd()))
        Path("broken_gate.py").write_text(
            "class Gate:\n    def check(self, request):\n        raise RuntimeError\n"
        )
        config('[gate]\nkind = "python:broken_gate:Gate"\n')
        cli("run", "echo.say")

        denial = cli("audit", "show", "@last", "--json").document["denial"]

        assert denial["by"] == "gate_unavailable"

    def test_a_call_that_was_allowed_has_no_denial(self, cli: Cli) -> None:
        """No key, no lines."""
        cli("run", "echo.say")

        assert "denial" not in cli("audit", "show", "@last", "--json").document

    def test_a_changed_policy_hides_no_record(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """The record is shown; which rule it was cannot be told, and that is said."""
        config(rules(DENY_WRITES) + GRANTED)
        cli("run", "fs.write", "path=a", "text=x", "--as", "alice")
        connection = sqlite3.connect(store_path())
        with connection:
            connection.execute(
                "UPDATE policies SET content = replace(content, 'no writes', 'yes')"
            )
        connection.close()

        ran = cli("audit", "show", "@last")

        assert ran.code == 0
        assert "deny_reason  no writes\n" in ran.out
        assert "✗ gate rule" not in ran.out
        assert "why it was denied cannot be told" in ran.err
        assert "was changed" in ran.err
