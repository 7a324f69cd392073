from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from toolrt.errors import ToolError, ToolTimeoutError
from toolrt.schema import compile_check, signature
from toolrt.std import StdSettings, std_pack

from ..bindings.calls import context
from .tools import call, code_of


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out a tree with something of everything, and stand in it."""
    files = {
        "a.txt": "one\nTwo needle\nthree\n",
        "b/c.py": "needle = 1\n",
        "b-d/e.py": "x\r\nneedle\r\n",
        "b/f/g.txt": "needle needle",
        ".hidden/h.txt": "needle",
        ".git/config": "needle",
        ".env": "needle",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text.encode())
    (tmp_path / "binary").write_bytes(b"needle\n\0")
    (tmp_path / "latin").write_bytes(b"needle\n\xe9\n")
    (tmp_path / "link.txt").symlink_to("a.txt")
    (tmp_path / "linked").symlink_to("b")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestDeclaration:
    def test_pack_declares_its_tools(self) -> None:
        """Names, capabilities, effects and signatures are what the operator sees."""
        shown = {
            signature(d.name, d.input_schema): (d.capabilities, d.effect, d.tier)
            for d in std_pack().handlers
        }

        assert shown == {
            "echo.say(...)": ((), "read", "hot"),
            "fs.edit(path: string, old: string, new: string, [all: boolean = false],"
            " [expected_sha256: string|null = null])": (
                ("fs:read", "fs:write"), "write", "warm",
            ),
            'fs.glob(pattern: string, [path: string = "."],'
            " [max_results: integer = 1000])": (("fs:read",), "read", "warm"),
            'fs.grep(pattern: string, [path: string = "."], [glob: string = "**/*"],'
            " [ignore_case: boolean = false], [max_matches: integer = 100])": (
                ("fs:read",), "read", "warm",
            ),
            "fs.read(path: string, [offset: integer = 0],"
            " [limit: integer|null = null])": (("fs:read",), "read", "warm"),
            "fs.write(path: string, text: string,"
            ' [create: "new"|"replace"|"either" = "either"],'
            " [parents: boolean = false])": (("fs:write",), "write", "warm"),
            'http.fetch(url: string, [method: "GET"|"HEAD" = "GET"], [headers: object = {}],'
            " [max_bytes: integer = 1048576])": (("net:fetch",), "read", "cold"),
            'shell.exec(command: string, [cwd: string = "."],'
            " [stdin: string|null = null])": (
                ("shell:exec",), "destructive", "cold",
            ),
            "sys.info()": ((), "read", "hot"),
        }  # fmt: skip

    def test_pack_is_built_in(self) -> None:
        """The pack says who it is and where it comes from."""
        pack = std_pack()

        assert (pack.name, pack.source) == ("std", "built-in")

    def test_import_starts_none_of_what_only_a_call_needs(self) -> None:
        """The pack is imported at every start, so it imports little."""
        code = (
            "import sys, toolrt; before = set(sys.modules);"
            " import toolrt.std; toolrt.std.std_pack();"
            " print(*sorted(set(sys.modules) - before))"
        )
        found = subprocess.run(
            [sys.executable, "-I", "-c", code],
            check=True, capture_output=True, text=True,
        )  # fmt: skip

        assert set(found.stdout.split()) <= {"toolrt.std", "toolrt.std.settings"}


class TestEcho:
    @pytest.mark.parametrize("params", [{}, {"text": "hi"}, {"a": [None, {"b": 1.5}]}])
    def test_arguments_come_back(self, params: dict[str, Any]) -> None:
        """Whatever is said is echoed."""
        assert call("echo.say", **params) == {"echoed": params}


class TestInfo:
    def test_machine_is_described_and_not_identified(self) -> None:
        """The kind of system is told; its name, its users and its paths are not."""
        told = call("sys.info")

        assert sorted(told) == ["cpus", "machine", "python", "release", "system"]
        assert told["system"] == os.uname().sysname
        assert told["python"] == sys.version.split()[0].rstrip("+")
        assert told["cpus"] >= 1


@pytest.mark.usefixtures("tree")
class TestRead:
    def test_file_is_read_whole(self) -> None:
        """The value is the text itself."""
        assert call("fs.read", path="a.txt") == "one\nTwo needle\nthree\n"

    def test_link_that_stays_inside_is_followed(self) -> None:
        """A named link is read as what it stands for."""
        assert call("fs.read", path="link.txt").startswith("one\n")

    @pytest.mark.parametrize(
        ("offset", "limit", "text"),
        [(4, 3, "Two"), (15, None, "three\n"), (0, 10_000, None), (999, 5, "")],
    )
    def test_part_of_a_file_is_read(
        self, offset: int, limit: int | None, text: str | None
    ) -> None:
        """Offset and limit count bytes; beyond the end there is nothing."""
        whole = call("fs.read", path="a.txt")

        part = call("fs.read", path="a.txt", offset=offset, limit=limit)

        assert part == (whole if text is None else text)

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("missing", "NOT_FOUND"),
            ("b", "IS_DIR"),
            ("../x", "OUTSIDE_ROOTS"),
            ("latin", "ENCODING"),
        ],
    )
    def test_failure_has_a_code(self, path: str, code: str) -> None:
        """What cannot be read is told by a code."""
        assert code_of("fs.read", path=path) == code

    def test_fifo_does_not_hang(self) -> None:
        """A FIFO without a writer is refused at once."""
        os.mkfifo("fifo")

        assert code_of("fs.read", path="fifo") == "NOT_A_FILE"

    def test_roots_of_the_settings_hold(self, tree: Path) -> None:
        """Only the directories in the settings are open."""
        only_b = StdSettings(roots=(str(tree / "b"),))

        assert call("fs.read", only_b, path="b/c.py") == "needle = 1\n"
        assert code_of("fs.read", only_b, path="a.txt") == "OUTSIDE_ROOTS"

    def test_limit_of_the_settings_is_the_last_size_that_passes(self) -> None:
        """A file of exactly `max_bytes` is read, one more byte is too large."""
        size = Path("a.txt").stat().st_size

        assert call("fs.read", StdSettings(max_bytes=size), path="a.txt")
        too_small = StdSettings(max_bytes=size - 1)
        assert code_of("fs.read", too_small, path="a.txt") == "TOO_LARGE"
        assert call("fs.read", too_small, path="a.txt", limit=3) == "one"
        assert code_of("fs.read", too_small, path="a.txt", limit=size) == "TOO_LARGE"

    @pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
    def test_file_without_a_size_is_read(self) -> None:
        """What a file says of its size is not relied on."""
        in_proc = StdSettings(roots=("/proc",))

        assert "Linux" in call("fs.read", in_proc, path="/proc/version")

    def test_fault_of_encoding_is_placed_in_the_file(self) -> None:
        """The byte that is no UTF-8 is counted from the start of the file."""
        with pytest.raises(ToolError, match="not UTF-8 at byte 7"):
            call("fs.read", path="latin", offset=2)

    def test_reading_in_parts_gives_the_whole(self) -> None:
        """A character that a limit cuts in two belongs to the next part."""
        whole = "aé€\U0001f600" * 5
        Path("wide").write_text(whole, encoding="utf-8")
        parts, offset = [], 0
        while part := call("fs.read", path="wide", offset=offset, limit=5):
            parts.append(part)
            offset += len(part.encode())

        assert "".join(parts) == whole

    def test_limit_below_one_character_is_an_error(self) -> None:
        """A reader in parts that can get nowhere is told so."""
        Path("wide").write_text("€", encoding="utf-8")

        assert code_of("fs.read", path="wide", limit=2) == "ENCODING"

    def test_truncated_file_is_not_taken_for_a_cut(self) -> None:
        """A file that ends in half a character is not UTF-8, limit or not."""
        Path("half").write_bytes(b"ab\xe2\x82")

        assert code_of("fs.read", path="half") == "ENCODING"
        assert code_of("fs.read", path="half", limit=100) == "ENCODING"


def paths_of(matches: list[dict[str, Any]]) -> list[str]:
    return [match["path"] for match in matches]


@pytest.mark.usefixtures("tree")
class TestGrep:
    def test_matches_are_sorted_and_only_of_text_files(self) -> None:
        """Hidden directories, links, binary and other encodings are passed over."""
        matches = call("fs.grep", pattern="needle")

        assert matches == [
            {"path": ".env", "line": 1, "text": "needle"},
            {"path": "a.txt", "line": 2, "text": "Two needle"},
            {"path": "b-d/e.py", "line": 2, "text": "needle"},
            {"path": "b/c.py", "line": 1, "text": "needle = 1"},
            {"path": "b/f/g.txt", "line": 1, "text": "needle needle"},
        ]

    @pytest.mark.parametrize(
        ("path", "found"),
        [
            ("b", ["b/c.py", "b/f/g.txt"]),
            ("./b/", ["./b/c.py", "./b/f/g.txt"]),
            ("linked", ["linked/c.py", "linked/f/g.txt"]),
            (".hidden", [".hidden/h.txt"]),
            ("b/c.py", ["b/c.py"]),
            ("link.txt", ["link.txt"]),
            ("binary", []),
        ],
    )
    def test_paths_are_relative_as_the_caller_wrote(
        self, path: str, found: list[str]
    ) -> None:
        """A match can be given to `fs.read` as it stands."""
        assert paths_of(call("fs.grep", pattern="needle", path=path)) == found

    @pytest.mark.parametrize(
        ("glob", "found"),
        [
            ("*.py", ["b-d/e.py", "b/c.py"]),
            ("b/*", ["b/c.py"]),
            ("b/**", ["b/c.py", "b/f/g.txt"]),
            ("**/f/*", ["b/f/g.txt"]),
            ("no/*", []),
        ],
    )
    def test_glob_chooses_the_files(self, glob: str, found: list[str]) -> None:
        """Without a slash the glob is for names, with one for paths."""
        assert paths_of(call("fs.grep", pattern="needle", glob=glob)) == found

    def test_case_is_ignored_on_demand(self) -> None:
        """`ignore_case` finds the other case as well."""
        assert call("fs.grep", pattern="NEEDLE") == []
        assert len(call("fs.grep", pattern="NEEDLE", ignore_case=True)) == 5

    @pytest.mark.parametrize("most", [1, 2, 3])
    def test_first_matches_are_given(self, most: int) -> None:
        """`max_matches` cuts the sorted list, over files and inside one."""
        everything = call("fs.grep", pattern="e")

        assert call("fs.grep", pattern="e", max_matches=most) == everything[:most]
        in_one = call("fs.grep", pattern="", path="a.txt", max_matches=most)
        assert [match["line"] for match in in_one] == list(range(1, most + 1))

    def test_long_line_is_found_and_cut(self) -> None:
        """The text of a match has at most 500 characters."""
        Path("long").write_text("é" * 600 + "needle", encoding="utf-8")

        (match,) = call("fs.grep", pattern="needle$", path="long")

        assert match["text"] == "é" * 500

    def test_file_larger_than_the_limit_is_searched_by_line(self) -> None:
        """`max_bytes` bounds a line and not the file."""
        Path("large").write_text("filler\n" * 1000 + "needle\n")
        small = StdSettings(max_bytes=100)

        (match,) = call("fs.grep", small, pattern="needle", path="large")

        assert match["line"] == 1001
        Path("large").write_text("needle" * 1000)
        assert call("fs.grep", small, pattern="needle", path="large") == []

    @pytest.mark.parametrize(
        ("pattern", "where"),
        [("a(b", "position 1"), ("*", "position 0"), ("a{9999999999}", "too large")],
    )
    def test_bad_pattern_is_told_with_its_position(
        self, pattern: str, where: str
    ) -> None:
        """A regular expression that does not compile says where."""
        with pytest.raises(ToolError, match=f"BAD_PATTERN: .*{where}"):
            call("fs.grep", pattern=pattern)

    def test_search_outside_is_refused(self) -> None:
        """A search starts inside the roots, or not at all."""
        assert code_of("fs.grep", pattern="x", path="..") == "OUTSIDE_ROOTS"


@pytest.mark.usefixtures("tree")
class TestGlob:
    @pytest.mark.parametrize(
        ("pattern", "path", "found"),
        [
            ("*", ".", [".env", "a.txt", "binary", "latin", "link.txt", "linked"]),
            ("**/*.py", ".", ["b-d/e.py", "b/c.py"]),
            ("**/*.txt", ".", ["a.txt", "b/f/g.txt", "link.txt"]),
            ("b/**", ".", ["b/c.py", "b/f/g.txt"]),
            ("*.py", "b", ["b/c.py"]),
            ("*.py", "linked/", ["linked/c.py"]),
            ("h*", ".hidden", [".hidden/h.txt"]),
            ("b*/nothing", ".", []),
        ],
    )
    def test_files_that_match_are_listed(
        self, pattern: str, path: str, found: list[str]
    ) -> None:
        """Files and links, sorted, hidden directories left out, none followed."""
        assert call("fs.glob", pattern=pattern, path=path) == found

    def test_order_is_that_of_the_paths(self) -> None:
        """The list is sorted as text, and `max_results` cuts its end."""
        everything = call("fs.glob", pattern="**/*")

        assert everything == sorted(everything)
        assert call("fs.glob", pattern="**/*", max_results=3) == everything[:3]

    @pytest.mark.parametrize(
        ("params", "code"),
        [
            ({"pattern": "*", "path": "a.txt"}, "NOT_A_DIR"),
            ({"pattern": "*", "path": ".."}, "OUTSIDE_ROOTS"),
            ({"pattern": "*", "path": "missing"}, "NOT_FOUND"),
            ({"pattern": "../*"}, "BAD_PATTERN"),
        ],
    )
    def test_failure_has_a_code(self, params: dict[str, str], code: str) -> None:
        """What cannot be listed is told by a code."""
        assert code_of("fs.glob", **params) == code

    @pytest.mark.skipif(sys.platform != "linux", reason="needs names that are bytes")
    def test_name_that_is_no_text_is_shown_replaced(self) -> None:
        """A result is always text that JSON can hold."""
        Path(os.fsdecode(b"bad\xff.txt")).write_text("needle")

        assert call("fs.glob", pattern="bad*") == ["bad\ufffd.txt"]
        assert paths_of(call("fs.grep", pattern="n", glob="bad*")) == ["bad\ufffd.txt"]

    def test_directories_without_end_are_an_error(self) -> None:
        """A tree deeper than the walk goes is told, not cut."""
        Path("/".join(["d"] * 110)).mkdir(parents=True)

        assert code_of("fs.glob", pattern="**/*") == "IO"


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("verb", "params"),
    [
        ("fs.read", {"path": "a.txt"}),
        ("fs.grep", {"pattern": "needle"}),
        ("fs.grep", {"pattern": "needle", "path": "a.txt"}),
        ("fs.glob", {"pattern": "**/*"}),
        ("fs.write", {"path": "a.txt", "text": "x"}),
        ("fs.edit", {"path": "a.txt", "old": "one", "new": "x"}),
        ("shell.exec", {"command": "echo x >a.txt"}),
        ("http.fetch", {"url": "http://127.0.0.1:9/"}),
    ],
)
def test_nothing_goes_on_past_the_deadline(verb: str, params: dict[str, str]) -> None:
    """A call without time left ends as a timeout and leaves nothing open."""
    (bound,) = (b for b in std_pack().bound_handlers if b.definition.name == verb)
    before = set(Path("/dev/fd").iterdir())

    with pytest.raises(ToolTimeoutError, match="pack:verb"):
        bound.call(dict(params), context(timeout_s=0.0))

    assert set(Path("/dev/fd").iterdir()) == before
    assert Path("a.txt").read_text().startswith("one")


def test_the_schemas_are_schemas() -> None:
    """No build checks them: this does."""
    pack = std_pack()

    assert all(bound.has_sure_schemas for bound in pack.bound_handlers)
    for definition in pack.handlers:
        compile_check(definition.input_schema)
        compile_check(definition.output_schema or {})
