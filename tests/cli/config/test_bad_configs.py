"""Bad configs: every kind of fault, with its exact place, message and suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolrt_cli.config import ConfigError, Fault, Located, load, render

_TOOL = '[pack.p.handler.v]\ncommand = ["x"]\n'


def _faults(tmp_path: Path, source: str) -> tuple[Fault, ...]:
    file = tmp_path / "toolrt.toml"
    file.write_text(source)
    with pytest.raises(ConfigError) as caught:
        load(Located(str(file), "flag"))
    return caught.value.faults


def _case(
    name: str,
    source: str,
    place: tuple[int, int, int],
    message: str,
    suggestion: str | None = None,
) -> object:
    return pytest.param(source, place, message, suggestion, id=name)


@pytest.mark.parametrize(
    ("source", "place", "message", "suggestion"),
    [
        _case(
            "unknown table",
            '[runtim]\nnamespace = "x"\n',
            (1, 2, 6),
            'unknown key "runtim"',
            'did you mean "runtime"?',
        ),
        _case(
            "unknown key with no neighbour",
            "[middleware]\nzzz = 1\n",
            (2, 1, 3),
            'unknown key "zzz"',
            "known here: redact_paths",
        ),
        _case(
            "unknown key of a quoted caller",
            '[callers."agent:ci"]\ncapabilites = ["fs:*"]\n',
            (2, 1, 11),
            'unknown key "capabilites"',
            'did you mean "capabilities"?',
        ),
        _case(
            "unknown key of an argument",
            _TOOL + 'args.a = { type = "string", defalt = "x" }\n',
            (3, 29, 6),
            'unknown key "defalt"',
            'did you mean "default"?',
        ),
        _case(
            "missing key of a table",
            '[pack.p]\n[pack.p.handler."v"]\noutput = "text"\n',
            (2, 1, 20),
            'missing key "command"',
        ),
        _case(
            "missing key of an array's table",
            "[gate]\nkind = 'rules'\n[[gate.rule]]\nverbs = ['x']\n",
            (3, 1, 13),
            'missing key "decision"',
        ),
        _case(
            "missing key of an inline table",
            "gate = { kind = 'rules', rule = [{ verbs = ['x'] }] }\n",
            (1, 34, 17),
            'missing key "decision"',
        ),
        _case(
            "table expected",
            'runtime = "std"\n',
            (1, 11, 5),
            'expected a table, got a string, "std"',
        ),
        _case(
            "array expected",
            '[runtime]\npacks = "std"\n',
            (2, 9, 5),
            'expected an array, got a string, "std"',
        ),
        _case(
            "string expected in an array",
            "[callers.x]\ncapabilities = [\n  'a',\n  3,\n]\n",
            (4, 3, 1),
            "expected a string, got an integer, 3",
        ),
        _case(
            "integer expected, got a boolean",
            "[[sink]]\nkind = 'stdout'\ncapacity = true\n",
            (3, 12, 4),
            "expected an integer, got a boolean, true",
        ),
        _case(
            "boolean expected",
            "[ucan]\nbearer = 1\n",
            (2, 10, 1),
            "expected a boolean, got an integer, 1",
        ),
        _case(
            "number expected, got a date",
            _TOOL + "args.a = { type = 'integer', minimum = 1979-05-27 }\n",
            (3, 40, 10),
            "expected a number, got a date or time",
        ),
        _case(
            "one of a set",
            '[store]\ndurability = "ful"\n',
            (2, 14, 5),
            'expected one of "full", "normal", got "ful"',
            'did you mean "full"?',
        ),
        _case(
            "one of a set, of another type",
            "[gate]\non_error = true\n",
            (2, 12, 4),
            'expected one of "allow", "deny", got a boolean, true',
        ),
        _case(
            "a tier that is none",
            "[runtime.tiers.hott]\n",
            (1, 16, 4),
            'expected one of "cold", "hot", "warm", got "hott"',
            'did you mean "hot"?',
        ),
        _case(
            "gate kind",
            '[gate]\nkind = "rule"\n',
            (2, 8, 6),
            'expected allow-all, rules or python:module:attr, got "rule"',
            'did you mean "rules"?',
        ),
        _case(
            "empty text",
            '[runtime]\ndefault_caller = ""\n',
            (2, 18, 2),
            "expected text, got an empty string",
        ),
        _case(
            "empty command",
            "[pack.p.handler.v]\ncommand = []\n",
            (2, 11, 2),
            "expected an array of at least one item, got none",
        ),
        _case(
            "too small",
            "[[sink]]\nkind = 'stdout'\ncapacity = 0\n",
            (3, 12, 1),
            "expected an integer of at least 1, got 0",
        ),
        _case(
            "too large",
            "[ucan]\nmax_depth = 6\n",
            (2, 13, 1),
            "expected an integer of at most 5, got 6",
        ),
        _case(
            "too large for a message",
            f"[ucan]\nmax_depth = {10**50}\n",
            (2, 13, 51),
            "expected an integer of at most 5, got a long integer",
        ),
        _case(
            "actor",
            '[callers.x]\nactors = ["deploy"]\n',
            (2, 11, 8),
            'expected an actor as kind:id, such as os:deploy, got "deploy"',
        ),
        _case(
            "DID",
            '[callers.x]\ndid = "did:web:x"\n',
            (2, 7, 11),
            'expected a DID such as did:key:z6Mk…, got "did:web:x"',
        ),
        _case(
            "duration without a unit",
            '[store]\nretention = "180"\n',
            (2, 13, 5),
            "'180' has no unit: ms, s, m, h, d, w, mo or y",
        ),
        _case(
            "duration as a number",
            "[store]\nlock_timeout = 10\n",
            (2, 16, 2),
            'expected a duration such as "10s", got 10',
        ),
        _case(
            "timeout of nothing",
            "[[sink]]\nkind = 'stdout'\ntimeout = '0s'\n",
            (3, 11, 4),
            'expected a duration of at least 0.001 s, got "0s"',
        ),
        _case(
            "leeway",
            "[ucan]\nleeway = '2m'\n",
            (2, 10, 4),
            'expected a duration of at most 60 s, got "2m"',
        ),
        _case(
            "root given twice",
            "[[ucan.root]]\ndid = 'did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp'\ncapabilities = ['fs:read']\n"
            "[[ucan.root]]\ndid = 'did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp'\n",
            (5, 7, 58),
            "another root has this DID already",
        ),
        _case(
            "ceiling with a pattern",
            "[[ucan.root]]\ndid = 'did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp'\ncapabilities = ['repo:read', 'fs:*']\n",
            (3, 30, 6),
            'expected the exact name of a capability, got "fs:*":'
            " a ceiling takes no patterns",
        ),
        _case(
            "size",
            '[std]\nmax_bytes = "64kib"\n',
            (2, 13, 7),
            'expected a size such as 65536, "64KiB" or "1MiB", got "64kib"',
        ),
        _case(
            "size of nothing",
            "[std]\nmax_bytes = 0\n",
            (2, 13, 1),
            "expected a size of at least 1 and less than 2**63 bytes, got 0",
        ),
        _case(
            "obligation without a kind",
            "[gate]\nkind='rules'\n[[gate.rule]]\ndecision='allow'\n"
            "obligations = [{ tag = 'x' }]\n",
            (5, 16, 13),
            'missing key "kind"',
        ),
        _case(
            "obligation of no kind",
            "[gate]\nkind='rules'\n[[gate.rule]]\ndecision='allow'\n"
            "obligations = [{ kind = 'audi' }]\n",
            (5, 25, 6),
            'expected one of "audit", "rate_limit", "custom", got "audi"',
            'did you mean "audit"?',
        ),
        _case(
            "obligation that refuses itself",
            "[gate]\nkind='rules'\n[[gate.rule]]\ndecision='allow'\n"
            "obligations = [{ kind = 'rate_limit', window_secs = 0, max = 1 }]\n",
            (5, 16, 49),
            "rate_limit needs window_secs and max of at least 1",
        ),
        _case(
            "obligation that is no table",
            "[gate]\nkind='rules'\n[[gate.rule]]\ndecision='allow'\nobligations = [1]\n",
            (5, 16, 1),
            "expected a table, got an integer, 1",
        ),
        _case(
            "exit status",
            _TOOL + "exit_codes = { 0 = 'ok' }\n",
            (3, 16, 1),
            'expected an exit status from 1 to 255, got "0"',
        ),
        _case(
            "exit meaning",
            _TOOL + "exit_codes = { 1 = 'not found' }\n",
            (3, 20, 11),
            'expected ok or an upper-case code such as NOT_FOUND, got "not found"',
        ),
    ],
)
def test_shape(
    tmp_path: Path,
    source: str,
    place: tuple[int, int, int],
    message: str,
    suggestion: str | None,
) -> None:
    """A value or key that its own rule refuses is one fault, at its place."""
    (fault,) = _faults(tmp_path, source)

    assert (fault.line, fault.column, fault.length) == place
    assert (fault.message, fault.suggestion) == (message, suggestion)
    assert fault.file == str(tmp_path / "toolrt.toml")
    assert fault.snippet == source.splitlines()[place[0] - 1]


@pytest.mark.parametrize(
    ("source", "place", "message", "suggestion"),
    [
        _case(
            "namespace",
            '[runtime]\nnamespace = "a::b"\n',
            (2, 13, 6),
            "expected segments of [A-Za-z0-9_.-] joined by colons,"
            ' got "a::b": empty segment',
        ),
        _case(
            "pack listed twice",
            '[runtime]\npacks = ["std", "std"]\n',
            (2, 17, 5),
            'pack "std" is listed twice',
        ),
        _case(
            "pack that cannot be one",
            '[runtime]\npacks = ["Std"]\n',
            (2, 10, 5),
            "expected std, a [pack.NAME] table, an entry point's name"
            ' ([a-z][a-z0-9_-]*) or module:attr, got "Std"',
        ),
        _case(
            "Python object that cannot be one",
            '[runtime]\npacks = ["a.b:"]\n',
            (2, 10, 6),
            'expected module:attr, got "a.b:"',
        ),
        _case(
            "rules without a gate kind",
            '[[gate.rule]]\ndecision = "deny"\n',
            (1, 8, 4),
            'key "rule" needs a gate of kind "rules", no kind is given',
            'write kind = "rules" under [gate]',
        ),
        _case(
            "default of an allow-all gate",
            '[gate]\nkind = "allow-all"\ndefault = "deny"\n',
            (3, 1, 7),
            'key "default" needs a gate of kind "rules",'
            ' the gate\'s kind is "allow-all"',
            'write kind = "rules" under [gate]',
        ),
        _case(
            "argument of a rule",
            "[gate]\nkind='rules'\n[[gate.rule]]\ndecision='deny'\n"
            "[gate.rule.args]\npath = 'x'\n",
            (6, 1, 4),
            'expected a JSON Pointer, got "path"',
            'did you mean "/path"?',
        ),
        _case(
            "sink without its file",
            '[[sink]]\nkind = "jsonl"\n',
            (1, 1, 8),
            'a sink of kind "jsonl" needs the key "path"',
        ),
        _case(
            "stream with a file",
            '[[sink]]\nkind = "stdout"\npath = "x"\n',
            (3, 1, 4),
            'a sink of kind "stdout" takes no key "path"',
        ),
        _case(
            "two sinks over one file",
            '[[sink]]\nkind = "jsonl"\npath = "a/b"\n'
            '[[sink]]\nkind = "jsonl"\npath = "./a//b"\n',
            (6, 8, 8),
            'another sink writes to "a/b" already',
        ),
        _case(
            "two sinks over one stream",
            '[[sink]]\nkind = "stderr"\n[[sink]]\nkind = "stderr"\n',
            (4, 8, 8),
            'another sink writes to "stderr" already',
        ),
        _case(
            "fallback to itself",
            '[[sink]]\nkind = "jsonl"\npath = "a"\n'
            'backpressure = "fallback"\nfallback = "./a"\n',
            (5, 12, 5),
            "the fallbacks lead back to this sink",
        ),
        _case(
            "fallbacks in a circle",
            '[[sink]]\nkind = "jsonl"\npath = "a"\n'
            'backpressure = "fallback"\nfallback = "b"\n'
            '[[sink]]\nkind = "jsonl"\npath = "b"\n'
            'backpressure = "fallback"\nfallback = "stdout"\n'
            '[[sink]]\nkind = "stdout"\n'
            'backpressure = "fallback"\nfallback = "a"\n',
            (14, 12, 3),
            "the fallbacks lead back to this sink",
        ),
        _case(
            "fallback without its strategy",
            '[[sink]]\nkind = "stdout"\nfallback = "a"\n',
            (3, 1, 8),
            'key "fallback" needs backpressure = "fallback"',
        ),
        _case(
            "required and dropping",
            '[[sink]]\nkind = "stdout"\nbackpressure = "drop"\nrequired = true\n',
            (3, 16, 6),
            "a required sink must not drop",
            'write "block" or "fallback"',
        ),
        _case(
            "unknown strategy",
            '[[sink]]\nkind = "stdout"\nbackpressure = "blok"\n',
            (3, 16, 6),
            'expected one of "block", "drop", "fallback", got "blok"',
            'did you mean "block"?',
        ),
        _case(
            "fallback to nothing",
            '[[sink]]\nkind = "stdout"\nbackpressure = "fallback"\n',
            (1, 1, 8),
            'backpressure "fallback" needs the key "fallback"',
        ),
        _case(
            "broker without its file",
            '[secrets]\nbroker = "file"\n',
            (1, 1, 9),
            'broker "file" needs the key "path"',
        ),
        _case(
            "file of a broker that reads none",
            '[secrets]\nbroker = "env"\npath = "x"\n',
            (3, 1, 4),
            'key "path" needs the broker "file", it is "env"',
        ),
        _case(
            "prefix of a broker that reads files",
            '[secrets]\nbroker = "file"\npath = "x"\nprefix = "X_"\n',
            (4, 1, 6),
            'key "prefix" needs the broker "env", it is "file"',
        ),
        _case(
            "prefix without a broker",
            '[secrets]\nprefix = "X_"\n',
            (2, 1, 6),
            'key "prefix" needs the broker "env", none is given',
        ),
        _case(
            "no such broker",
            '[secrets]\nbroker = "fil"\npath = "x"\n',
            (2, 10, 5),
            'expected one of "env", "file", got "fil"',
            'did you mean "file"?',
        ),
        _case(
            "secret that is let through",
            _TOOL + "env = ['X_TOKEN']\nsecrets = ['a', 'x-token']\n",
            (4, 17, 9),
            "secret 'x-token' is the variable X_TOKEN, which env lets through",
        ),
        _case(
            "secret in the place of the PATH",
            _TOOL + "secrets = ['path']\n",
            (3, 12, 6),
            "secret 'path' is the variable PATH, which every command has",
        ),
        _case(
            "secrets of one variable",
            _TOOL + "secrets = ['x-token', 'x.token']\n",
            (3, 23, 9),
            "secret 'x.token' is the variable X_TOKEN, as is secret 'x-token'",
        ),
        _case(
            "secret that is no text",
            _TOOL + "secrets = [1]\n",
            (3, 12, 1),
            "expected a string, got an integer, 1",
        ),
        _case(
            "pattern to redact",
            "[middleware]\nredact_paths = ['ok', '(']\n",
            (2, 23, 3),
            'expected a regular expression, got "(":'
            " missing ), unterminated subpattern at position 0",
        ),
        _case(
            "name of the built-in pack",
            "[pack.std]\n",
            (1, 7, 3),
            '"std" is the built-in pack; a table needs another name',
        ),
        _case(
            "name of a pack",
            "[pack.Git]\n",
            (1, 7, 3),
            "expected a pack's name of [a-z][a-z0-9_-]*, at most 64 characters,"
            ' got "Git"',
        ),
        _case(
            "long verb",
            f"[pack.p.handler.{'v' * 65}]\ncommand = ['x']\n",
            (1, 17, 65),
            "expected a verb of [a-z][a-z0-9_.-]*, at most 64 characters,"
            f' got "{"v" * 39}…"',
        ),
        _case(
            "placeholder",
            "[pack.p.handler.v]\ncommand = ['x', '--n={limt}']\nargs.limit = {}\n",
            (2, 17, 12),
            'no argument "limt" is declared',
            'did you mean "limit"?',
        ),
        _case(
            "placeholder where nothing is declared",
            "[pack.p.handler.v]\ncommand = ['x', '{n}']\n",
            (2, 17, 5),
            'no argument "n" is declared',
            'declare it: args.n = { type = "string" }',
        ),
        _case(
            "brace without a partner",
            "[pack.p.handler.v]\ncommand = ['x', '{n']\n",
            (2, 17, 4),
            "'{n': unbalanced '{'; write '{{' for a brace",
        ),
        _case(
            "program from an argument",
            "[pack.p.handler.v]\ncommand = ['{a}']\nargs.a = {}\n",
            (2, 12, 5),
            "the program to run must be named: no argument can stand for it",
        ),
        _case(
            "standard input",
            _TOOL + "stdin = 'body'\n",
            (3, 9, 6),
            'no argument "body" is declared',
            'declare it: args.body = { type = "string" }',
        ),
        _case(
            "dash",
            _TOOL + "allow_dash = ['a', 'b']\nargs.a = {}\n",
            (3, 20, 3),
            'no argument "b" is declared',
            'declare it: args.b = { type = "string" }',
        ),
        _case(
            "default of another type",
            _TOOL + "args.a = { type = 'integer', default = '10' }\n",
            (3, 40, 4),
            'expected an integer, got a string, "10"',
        ),
        _case(
            "default of a text without a type",
            _TOOL + "args.a = { default = 10 }\n",
            (3, 22, 2),
            "expected a string, got an integer, 10",
        ),
        _case(
            "default out of range",
            _TOOL + "args.a = { type = 'integer', default = 0, minimum = 1 }\n",
            (3, 40, 1),
            "expected at least 1, got 0",
        ),
        _case(
            "default above the range",
            _TOOL + "args.a = { type = 'number', default = 1.5, maximum = 1 }\n",
            (3, 39, 3),
            "expected at most 1, got 1.5",
        ),
        _case(
            "default too short",
            _TOOL + "args.a = { default = 'x', minLength = 2 }\n",
            (3, 22, 3),
            'expected at least 2 characters, got "x"',
        ),
        _case(
            "default too long",
            _TOOL + "args.a = { default = 'xyz', maxLength = 2 }\n",
            (3, 22, 5),
            'expected at most 2 characters, got "xyz"',
        ),
        _case(
            "default not among the choices",
            _TOOL + "args.a = { default = 'c', enum = ['a', 'b'] }\n",
            (3, 22, 3),
            'expected one of "a", "b", got "c"',
        ),
        _case(
            "choice of another type",
            _TOOL + "args.a = { type = 'boolean', enum = [true, 1] }\n",
            (3, 44, 1),
            "expected a boolean, got an integer, 1",
        ),
        _case(
            "item of a default",
            _TOOL + "args.a = { type = 'array', default = ['x', 1], items = {} }\n",
            (3, 44, 1),
            "expected a string, got an integer, 1",
        ),
        _case(
            "bound that JSON does not have",
            _TOOL + "args.a = { type = 'number', maximum = inf }\n",
            (3, 39, 3),
            "expected a number that JSON has, got inf",
        ),
        _case(
            "default that JSON does not have",
            _TOOL + "args.a = { type = 'number', default = nan }\n",
            (3, 39, 3),
            "expected a number that JSON has, got nan",
        ),
        _case(
            "range without room",
            _TOOL + "args.a = { minLength = 3, maxLength = 2 }\n",
            (3, 24, 1),
            "minLength 3 is above maxLength 2",
        ),
    ],
)
def test_meaning(
    tmp_path: Path,
    source: str,
    place: tuple[int, int, int],
    message: str,
    suggestion: str | None,
) -> None:
    """What only several keys together tell is one fault, at its place."""
    (fault,) = _faults(tmp_path, source)

    assert (fault.line, fault.column, fault.length) == place
    assert (fault.message, fault.suggestion) == (message, suggestion)


_PATTERNS = """\
[runtime]
confirm = ["reed"]
[pack.p.handler.v]
command = ["x"]
args.a = { pattern = "(" }
args.b = { type = "array", items = { pattern = "[" } }
args.c = { pattern = "^x", default = "y" }
args.d = { pattern = "^x", default = "xy" }
args.e = { pattern = 3 }
"""


def test_patterns_are_judged_where_a_config_is_examined(tmp_path: Path) -> None:
    """In one pass with everything else; other commands have no time for it."""
    file = tmp_path / "toolrt.toml"
    file.write_text(_PATTERNS)
    with pytest.raises(ConfigError) as caught:
        load(Located(str(file), "flag"), is_examined=True)

    assert [(f.line, f.column, f.message) for f in caught.value.faults] == [
        (2, 12, 'expected one of "destructive", "read", "write", got "reed"'),
        (5, 22, 'expected a regular expression as in ECMA-262, got "("'),
        (6, 48, 'expected a regular expression as in ECMA-262, got "["'),
        (7, 38, 'expected a match of "^x", got "y"'),
        (9, 22, "expected a string, got an integer, 3"),
    ]
    assert len(_faults(tmp_path, _PATTERNS)) == 2


_DIDS = """\
[runtime]
confirm = ["reed"]
[callers.bot]
did = "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc"
[callers.odd]
did = 3
[[ucan.root]]
did = "did:key:zzz"
[[ucan.root]]
did = "did:web:x"
"""


def test_dids_are_judged_where_a_config_is_examined(tmp_path: Path) -> None:
    """Each key that is none with everything else, in one pass."""
    file = tmp_path / "toolrt.toml"
    file.write_text(_DIDS)
    with pytest.raises(ConfigError) as caught:
        load(Located(str(file), "flag"), is_examined=True)

    must = "must be the did:key of an Ed25519 key: "
    assert [(f.line, f.column, f.message) for f in caught.value.faults] == [
        (2, 12, 'expected one of "destructive", "read", "write", got "reed"'),
        (4, 7, f"{must}its key is x25519, not ed25519"),
        (6, 7, "expected a string, got an integer, 3"),
        (8, 7, f"{must}it is no did:key of an Ed25519 key"),
        (10, 7, 'expected a DID such as did:key:z6Mk…, got "did:web:x"'),
    ]


@pytest.mark.parametrize(
    "text",
    ["ucan = 3\ncallers = 3", "ucan.root = 3\ncallers.a = 3", "ucan.root = [3]"],
)
def test_where_a_did_has_no_place_the_place_is_the_fault(
    tmp_path: Path, text: str
) -> None:
    """Tables that are none are told, and nothing else fails."""
    file = tmp_path / "toolrt.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="expected"):
        load(Located(str(file), "flag"), is_examined=True)


_MANY = """\
[runtime]
namespace = "local:"
packs = ["std", "std"]
defalt_caller = "alice"
[store]
durability = "ful"
retention = "10 parsecs"
[callers."ci-bot"]
capabilities = ["fs:read", 3]
[[sink]]
capacity = 0
[pack.git.handler."git.log"]
comand = ["git", "{repo}"]
stdin = "nope"
effect = "raed"
[pack.git.handler."git.log".args]
limit = { type = "integer", default = "x", title = 1 }
"""


def test_all_faults_in_one_pass(tmp_path: Path) -> None:
    """Shape and meaning are judged in one pass, and faults come in the file's order."""
    faults = _faults(tmp_path, _MANY)

    assert [(fault.line, fault.column, fault.key_path) for fault in faults] == [
        (2, 13, ("runtime", "namespace")),
        (3, 17, ("runtime", "packs", 1)),
        (4, 1, ("runtime", "defalt_caller")),
        (6, 14, ("store", "durability")),
        (7, 13, ("store", "retention")),
        (9, 28, ("callers", "ci-bot", "capabilities", 1)),
        (10, 1, ("sink", 0, "kind")),
        (11, 12, ("sink", 0, "capacity")),
        (12, 1, ("pack", "git", "handler", "git.log", "command")),
        (13, 1, ("pack", "git", "handler", "git.log", "comand")),
        (14, 9, ("pack", "git", "handler", "git.log", "stdin")),
        (15, 10, ("pack", "git", "handler", "git.log", "effect")),
        (17, 39, ("pack", "git", "handler", "git.log", "args", "limit", "default")),
        (17, 44, ("pack", "git", "handler", "git.log", "args", "limit", "title")),
    ]
    assert render(faults).count("error: ") == len(faults)


def test_one_place_has_one_fault(tmp_path: Path) -> None:
    """A name that breaks its grammar is not also called undeclared."""
    (fault,) = _faults(tmp_path, _TOOL + "allow_dash = ['-x']\n")

    assert fault.key_path == ("pack", "p", "handler", "v", "allow_dash", 0)


def test_messages_hold_nothing_unprintable(tmp_path: Path) -> None:
    """Keys and values of the file reach messages and suggestions escaped."""
    source = (
        '["\\u001b[31m"]\n[callers.x]\ndid = "\\u202e"\n'
        '[store]\nretention = "\\u001b]0;x\\u0007"\n'
        '[pack.p.handler.v]\ncommand = ["x", "{\\u001b}"]\nstdin = "\\u009b"\n'
    )

    faults = _faults(tmp_path, source)

    assert len(faults) == 5
    for fault in faults:
        assert fault.message.isprintable()
        assert (fault.suggestion or "").isprintable()


@pytest.mark.parametrize(
    "name", ["std", "plain-entry_point2", "a:b", "my.mod_1:Pack.attr", "é.ö:ü"]
)
def test_packs_that_may_exist_are_left_alone(tmp_path: Path, name: str) -> None:
    """A name that can be a pack is no fault: it is looked for when it is loaded."""
    file = tmp_path / "toolrt.toml"
    file.write_text(f'[runtime]\npacks = ["{name}"]\n', encoding="utf-8")

    assert load(Located(str(file), "flag")).config.runtime.packs == (name,)
