"""The completion scripts, as text and in the shells that read them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolrt_cli.completion import FILES, SHELLS, script, write_scripts
from toolrt_cli.completion.description import Command, Option, describe
from toolrt_cli.grammar import FORMATS, GLOBAL, RUN
from toolrt_cli.main import main

ROOT = Path(__file__).parents[2]
LINE = describe()
COMMANDS = [command for command in LINE.root.walk() if command.path]

OTHER_CONFIG = """\
[runtime]
packs = ["std", "notes"]

[callers.night-bot]
capabilities = ["notes:write"]

[pack.notes.handler."note.add"]
command = ["echo", "{title}"]
capabilities = ["notes:write"]
args.title = { type = "string" }
"""
#: What toolrt must never be able to make a shell run.
HOSTILE_CONFIG = """\
[callers."$(touch owned)"]
[callers."`touch owned`"]
[callers."x;touch owned"]
[callers."it's"]
"""

#: Completes a line, cursor at its end, and returns what is offered.
Complete = Callable[[str], list[str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work directory with files, and a toolrt on PATH that knows no config."""
    bin_dir, work = tmp_path / "bin", tmp_path / "desk"
    for directory in (bin_dir, work / "src", work / "my dir"):
        directory.mkdir(parents=True)
    (tmp_path / "toolrt" / "identities").mkdir(parents=True)
    (tmp_path / "toolrt" / "identities" / "ops.key").touch()
    program = bin_dir / "toolrt"
    python = shlex.quote(sys.executable)
    program.write_text(f'#!/bin/sh\nexec {python} -m toolrt_cli "$@"\n')
    program.chmod(0o755)
    (work / "README.md").touch()
    (work / "re port.txt").touch()
    (work / "other.toml").write_text(OTHER_CONFIG)
    (work / "my dir" / "other.toml").write_text(OTHER_CONFIG)
    (work / "hostile.toml").write_text(HOSTILE_CONFIG)
    monkeypatch.setenv("PATH", f"{bin_dir}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "store")]))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("TOOLRT_CONFIG", "TOOLRT_CALLER", "TOOLRT_STORE"):
        monkeypatch.delenv(name, raising=False)
    for shell, name in FILES.items():
        (tmp_path / name).write_text(script(shell), encoding="utf-8")
    monkeypatch.chdir(work)
    return tmp_path


def installed(shell: str) -> str:
    """Return the path of *shell*, or skip the test."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


def lines_of(command: list[str], stdin: str = "") -> list[str]:
    """Return the lines that *command* prints; nothing may go wrong."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


# Breaks the line as bash does before it calls the function of a completion: blanks
# and COMP_WORDBREAKS outside quotes, each run of breaks a word of its own.
BASH_DRIVER = r"""
set -u
source "$1/toolrt.bash"
COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDS=() word='' quote='' kind=''
flush() { [[ -z $word ]] || COMP_WORDS+=("$word"); word=''; }
for ((i = 0; i < ${#COMP_LINE}; i++)); do
    char=${COMP_LINE:i:1}
    if [[ -n $quote ]]; then
        [[ $char != "$quote" ]] || quote=''
    elif [[ $char == '\' ]]; then
        word+=$char; i=$((i + 1)); char=${COMP_LINE:i:1}
    elif [[ $char == ' ' ]]; then
        flush; kind=''; continue
    elif [[ $char == [=:@] ]]; then
        [[ $kind == break ]] || flush
        kind=break; word+=$char; continue
    elif [[ $char == [\"\'] ]]; then
        quote=$char
    fi
    [[ $kind != break ]] || flush
    kind=word; word+=$char
done
[[ -z $word && $COMP_LINE != *' ' ]] || COMP_WORDS+=("$word")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_toolrt
printf '%s\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"}
"""


@pytest.fixture
def bash(home: Path) -> Complete:
    """Complete in bash, driven as readline drives it."""
    bash = installed("bash")
    return lambda line: [
        word
        for word in lines_of([bash, "-c", BASH_DRIVER, "bash", str(home), line])
        if word
    ]


@pytest.fixture
def fish(home: Path) -> Complete:
    """Complete in fish, without the descriptions."""
    fish = installed("fish")
    code = 'source $argv[1]/toolrt.fish; complete -C "$argv[2]"'

    def complete(line: str) -> list[str]:
        found = lines_of([fish, "--no-config", "-c", code, str(home), line])
        return [word.partition("\t")[0] for word in found]

    return complete


# Completes as soon as there is a line to edit, and notes what is added to the list.
ZSH_RC = r"""
PS1= PS2=
fpath=($ZDOTDIR $fpath)
autoload -Uz compinit && compinit -u -d $TOOLRT_DUMP
compadd() {
  local -a hits
  # With -O, -A or -D nothing is added: the caller only asks what would match.
  if [[ " ${(j: :)@[1,(i)(-|--)]} " != *' -'[OAD]' '* ]]; then
    builtin compadd -O hits "$@"
    (( ! $#hits )) || print -rl -- "$IPREFIX"${^hits} >>$ZDOTDIR/found
  fi
  builtin compadd "$@"
}
zle-line-init() {
  BUFFER=$TOOLRT_LINE CURSOR=$#TOOLRT_LINE
  zle complete-word
  print -r -- "$BUFFER" >$ZDOTDIR/line
  exit
}
zle -N zle-line-init
"""


def at_terminal(command: list[str], typed: bytes, prompt: bytes, **env: str) -> None:
    """Run *command* at a terminal of its own; type *typed* once *prompt* is there."""
    leader, follower = os.openpty()
    with subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        env={**os.environ, "TERM": "dumb", **env},
    ) as process:
        os.close(follower)
        shown, is_typed = b"", False
        while part := _read(leader):
            shown += part
            if not is_typed and prompt in shown:
                is_typed = True
                os.write(leader, typed)
        os.close(leader)
        assert process.wait(300) == 0, shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that nobody has it open any more
        return b""


@pytest.fixture
def zsh(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Complete:
    """Complete in zsh's line editor."""
    zsh = installed("zsh")
    # Looking through all of zsh's completions takes 0.4 s: once is enough.
    dump = str(tmp_path_factory.getbasetemp() / "zcompdump")
    (home / ".zshrc").write_text(ZSH_RC)

    def complete(line: str) -> list[str]:
        env = {"ZDOTDIR": str(home), "TOOLRT_DUMP": dump, "TOOLRT_LINE": line}
        at_terminal([zsh, "-d", "-i"], b"", b"", **env)
        found = home / "found"
        return found.read_text().splitlines() if found.exists() else []

    return complete


@pytest.fixture
def bash_line(home: Path) -> Callable[[str], str]:
    """Press TAB in bash's line editor and return the line after it."""
    bash = installed("bash")
    if lines_of([bash, "-c", "echo $BASH_VERSINFO"]) < ["4"]:
        pytest.skip("bash is older than 4: nothing shows what stands on its line")
    (home / "bashrc").write_text(
        "PS1='ready> '; bind 'set enable-bracketed-paste off'\n"
        f"source {home}/toolrt.bash\n"
        """bind -x '"\\C-t": printf %s "$READLINE_LINE" >"$HOME/line"; exit'\n"""
    )

    def complete(line: str) -> str:
        command = [bash, "--noprofile", "--rcfile", f"{home}/bashrc", "-i"]
        at_terminal(command, line.encode() + b"\t\x14", b"ready> ")
        return (home / "line").read_text()

    return complete


CASES = [
    pytest.param("toolrt ", [c.name for c in LINE.root.commands], id="commands"),
    pytest.param("toolrt comp", ["completion"], id="begun command"),
    pytest.param("toolrt pack ", ["list", "handlers", "show"], id="sub-commands"),
    pytest.param("toolrt -q --color never audit qu", ["query"], id="global before"),
    pytest.param("toolrt run --dr", ["--dry-run"], id="option of run"),
    pytest.param("toolrt run echo.say --why --dr", ["--dry-run"], id="after the tool"),
    pytest.param("toolrt pack handlers --a", ["--all"], id="option"),
    pytest.param("toolrt pack show --qu", ["--quiet"], id="global option"),
    pytest.param("toolrt run echo", ["echo.say"], id="tools"),
    pytest.param("toolrt pack show echo", ["echo.say"], id="tool argument"),
    pytest.param("toolrt run fs.read pa", ["path="], id="arguments of the tool"),
    pytest.param("toolrt run -n --as x fs.read pa", ["path="], id="tool after options"),
    pytest.param("toolrt pack handlers ", ["std"], id="packs"),
    pytest.param("toolrt provenance explain x fs:re", ["fs:read"], id="capabilities"),
    pytest.param("toolrt pack list -o ", list(FORMATS), id="formats"),
    pytest.param(
        "toolrt provenance explain -o ",
        [*FORMATS, "tree", "dot", "mermaid"],
        id="formats of one command",
    ),
    pytest.param(
        "toolrt provenance explain --output=d", ["--output=dot"], id="joined to them"
    ),
    pytest.param("toolrt provenance explain --ou", ["--output"], id="named once"),
    pytest.param("toolrt identity show o", ["ops"], id="identities"),
    pytest.param(
        "toolrt --output=js", ["--output=json", "--output=jsonl"], id="joined"
    ),
    pytest.param("toolrt --color a", ["auto", "always"], id="color"),
    pytest.param("toolrt config validate REA", ["README.md"], id="file"),
    pytest.param("toolrt --store REA", ["README.md"], id="file of an option"),
    pytest.param("toolrt run fs.read path=REA", ["path=README.md"], id="name=file"),
    pytest.param("toolrt run fs.read path@REA", ["path@README.md"], id="name@file"),
    pytest.param("toolrt run x --json-args @REA", ["@README.md"], id="--json-args @"),
    pytest.param("toolrt completion p", ["powershell"], id="shells"),
    pytest.param("toolrt help ex", ["exit-codes"], id="topics"),
    pytest.param("toolrt audit tail ou", ["outcome="], id="fields"),
    pytest.param("toolrt audit tail -n 3 x=y ou", ["outcome="], id="second filter"),
    pytest.param("toolrt audit query not:ou", ["not:outcome="], id="negated field"),
    pytest.param("toolrt audit query tool=ech", ["tool=echo.say"], id="field's names"),
    pytest.param("toolrt audit show @", ["@last"], id="id"),
    pytest.param("toolrt --config other.toml run no", ["note.add"], id="--config"),
    pytest.param(
        "toolrt run --config=other.toml note.add ", ["title="], id="--config="
    ),
    pytest.param(
        "toolrt --config my\\ dir/other.toml run --as ni", ["night-bot"], id="blank"
    ),
    pytest.param(
        "toolrt --config 'my dir/other.toml' run --as ni", ["night-bot"], id="quotes"
    ),
    pytest.param("toolrt run --as nobody-of-this-name", [], id="nothing fits"),
    pytest.param("toolrt --config missing.toml run ", [], id="broken config"),
    pytest.param("toolrt run fs.read path:=RE", [], id="JSON value"),
    pytest.param("toolrt nonsense ", [], id="unknown command"),
]


@pytest.mark.parametrize(("line", "offered"), CASES)
def test_bash_offers(bash: Complete, line: str, offered: list[str]) -> None:
    """Bash offers what fits, less what readline keeps of a word it breaks."""
    word = line.rpartition(" ")[2]
    kept = max(word.rfind("=") + 1, word.rfind(":") + 1, word.rfind("@"), 0)

    assert sorted(bash(line)) == sorted(found[kept:] for found in offered)


@pytest.mark.slow
@pytest.mark.parametrize(("line", "offered"), CASES)
def test_zsh_offers(zsh: Complete, line: str, offered: list[str]) -> None:
    """Zsh offers what fits."""
    assert sorted(set(zsh(line))) == sorted(offered)


@pytest.mark.slow
@pytest.mark.parametrize(("line", "offered"), CASES)
def test_fish_offers(fish: Complete, line: str, offered: list[str]) -> None:
    """Fish offers what fits."""
    assert sorted(fish(line)) == sorted(offered)


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        pytest.param("toolrt run fs.rea", "toolrt run fs.read ", id="tool"),
        pytest.param(
            "toolrt run fs.read pa", "toolrt run fs.read path=", id="no blank"
        ),
        pytest.param("toolrt run x p=REA", "toolrt run x p=README.md ", id="file"),
        pytest.param("toolrt run x p=sr", "toolrt run x p=src/", id="directory"),
        pytest.param("toolrt run x p=re", "toolrt run x p=re\\ port.txt ", id="blank"),
        pytest.param('toolrt run x p="re', 'toolrt run x p="re port.txt" ', id="quote"),
        pytest.param("toolrt run x 'p=re", "toolrt run x 'p=re port.txt' ", id="whole"),
        pytest.param("toolrt run x p@REA", "toolrt run x p@README.md ", id="at"),
        pytest.param(
            "toolrt provenance explain x fs:rea",
            "toolrt provenance explain x fs:read ",
            id="colon",
        ),
        pytest.param(
            "toolrt --output=csv pa", "toolrt --output=csv pack ", id="joined"
        ),
        pytest.param(
            "toolrt --config my\\ dir/other.toml run no",
            "toolrt --config my\\ dir/other.toml run note.add ",
            id="blank in config",
        ),
        pytest.param(
            "toolrt --config ~/desk/other.toml run no",
            "toolrt --config ~/desk/other.toml run note.add ",
            id="home",
        ),
        pytest.param(
            "toolrt --config hostile.toml run --as x",
            "toolrt --config hostile.toml run --as x\\;touch\\ owned ",
            id="hostile name",
        ),
        pytest.param(
            "toolrt --config hostile.toml run --as 'it",
            "toolrt --config hostile.toml run --as 'it'\\''s' ",
            id="quote in a quote",
        ),
        pytest.param(
            'toolrt --config hostile.toml run --as "$',
            'toolrt --config hostile.toml run --as "\\$(touch owned)" ',
            id="substitution in a quote",
        ),
    ],
)
def test_bash_line_editor_inserts(
    bash_line: Callable[[str], str], line: str, completed: str
) -> None:
    """TAB in bash leaves a line that means the name it completed."""
    assert bash_line(line) == completed
    assert not Path("owned").exists()


@pytest.mark.slow
def test_zsh_line_editor_quotes_names(zsh: Complete, home: Path) -> None:
    """A name that is code to zsh is inserted as text."""
    zsh("toolrt --config hostile.toml run --as x")

    line = (home / "line").read_text().rstrip()
    assert line == "toolrt --config hostile.toml run --as x\\;touch\\ owned"


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_are_never_evaluated(
    shell: str, home: Path, request: pytest.FixtureRequest
) -> None:
    """What toolrt printed, and what stands on the line, is text to every shell."""
    complete: Complete = request.getfixturevalue(shell)

    assert len(complete("toolrt --config hostile.toml run --as ")) >= 4
    complete('toolrt --config "$(touch owned)" run --as ')
    assert not Path("owned").exists()


def test_bash_without_comp_line(home: Path) -> None:
    """Where only COMP_WORDS is set, broken words are joined all the same."""
    code = """set -u; source "$1/toolrt.bash"; shift; COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1)); _toolrt; printf '%s\\n' "${COMPREPLY[@]}"
    """
    words = ["toolrt", "--config", "=", "other.toml", "run", "--as", "ni"]

    assert lines_of([installed("bash"), "-c", code, "bash", str(home), *words]) == [
        "night-bot"
    ]


def spelling(shell: str, name: str) -> str:
    """Return how an option stands in the script of *shell*."""
    if shell != "fish":
        return name
    return f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"


def options() -> Iterator[tuple[Command, Option]]:
    """Yield every option with its command; global ones with the root."""
    for command in LINE.root.walk():
        for option in command.options:
            yield command, option
    for option in LINE.options:
        yield LINE.root, option


@pytest.mark.slow
def test_fish_shows_descriptions(home: Path) -> None:
    """What a command or an option does stands beside it."""
    code = 'source $argv[1]/toolrt.fish; complete -C "toolrt run --dr"'

    shown = lines_of([installed("fish"), "--no-config", "-c", code, str(home)])
    assert shown == ["--dry-run\tDecide and record, but run nothing"]


@pytest.mark.parametrize("shell", SHELLS)
def test_command_prints_the_script(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`toolrt completion SHELL` prints the script and nothing else."""
    assert main(["completion", shell]) == 0
    assert capsys.readouterr() == (script(shell), "")


def test_module_needs_a_directory() -> None:
    """`python -m toolrt_cli.completion` without a directory is a usage error."""
    command = [sys.executable, "-m", "toolrt_cli.completion"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "usage: python -m toolrt_cli.completion DIR\n"


def test_files_are_up_to_date() -> None:
    """The files in completions/ are what `make completions` writes."""
    for shell, name in FILES.items():
        kept = (ROOT / "completions" / name).read_text(encoding="utf-8")
        assert kept == script(shell), f"run make completions: {name} is old"


def test_write_scripts_writes_every_shell(tmp_path: Path) -> None:
    """All scripts are written, into a directory that need not be there."""
    write_scripts(tmp_path / "new")

    assert {path.name for path in (tmp_path / "new").iterdir()} == set(FILES.values())
    assert tuple(FILES) == SHELLS


def test_unknown_shell_is_refused() -> None:
    """A shell without a script is an error that lists those that have one."""
    with pytest.raises(ValueError, match="no shell 'tcsh': one of bash, zsh"):
        script("tcsh")


@pytest.mark.parametrize("shell", SHELLS)
def test_script_says_where_it_comes_from(shell: str) -> None:
    """Each script begins with a comment that says how it was made."""
    head = script(shell).splitlines()[:3]

    assert all(line.startswith("#") for line in head)
    assert any("Generated by `make completions`" in line for line in head)


@pytest.mark.parametrize("shell", SHELLS)
def test_script_has_every_command_and_option(shell: str) -> None:
    """No command, sub-command, option or field is missing from a script."""
    text = script(shell)

    for command in COMMANDS:
        assert " ".join(command.path) in text
        assert shell == "bash" or command.help.replace("'", "") in text
    for command, option in options():
        for name in option.names:
            assert spelling(shell, name) in text, (command.path, name)
    for field in LINE.fields:
        assert f"{field.name}" in text


def test_description_has_the_grammar_and_the_application() -> None:
    """The tables of the grammar and the commands of Typer are all described."""
    run = next(command for command in COMMANDS if command.path == ("run",))

    assert [option.names for option in run.options] == [flag.names for flag in RUN]
    assert [option.names for option in LINE.options] == [flag.names for flag in GLOBAL]
    assert ("audit", "tail") in [command.path for command in COMMANDS]
    assert all(command.help for command in COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_parses(shell: str, tmp_path: Path) -> None:
    """The shell itself finds no fault in its script."""
    path = tmp_path / FILES[shell]
    path.write_text(script(shell), encoding="utf-8")

    assert lines_of([installed(shell), "-n", str(path)]) == []


def test_powershell_script_is_balanced() -> None:
    """Outside strings and comments, each bracket of the script has its other half."""
    closing = {")": "(", "]": "[", "}": "{"}
    opened = []
    for char in code_of(script("powershell")):
        if char in closing.values():
            opened.append(char)
        elif char in closing:
            assert opened.pop() == closing[char]
    assert opened == []


def code_of(text: str) -> str:
    """Return PowerShell *text* without its comments and the content of its strings."""
    kept, quote = [], ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        at = 0
        while at < len(line):
            char = line[at]
            if char == "`":
                at += 1
            elif quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            else:
                kept.append(char)
            at += 1
        assert quote == "", line
    return "".join(kept)


def test_powershell_script_registers_a_native_completer() -> None:
    """The script registers for toolrt, asks it for names, and evaluates nothing."""
    text = script("powershell")

    assert "Register-ArgumentCompleter -Native -CommandName toolrt" in text
    assert "& toolrt @config __complete @Asked" in text
    assert not any(word in text for word in ("Invoke-Expression", "iex ", "Set-Exec"))
    for kind in ("tools", "arguments", "packs", "callers", "capabilities", "filters"):
        assert f"Kind = '{kind}'" in text
