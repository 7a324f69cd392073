from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toolrt.context import CallContext
from toolrt.errors import ToolError, ToolTimeoutError
from toolrt.std import StdSettings

from ..bindings.calls import context
from .tools import call, code_of


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out a root beside a directory that must never change, and stand in it."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "f").write_text("secret")
    (root / "f").write_text("one two two\n")
    (root / "latin").write_bytes(b"\xe9 one\n")
    (root / "to-file").symlink_to("f")
    (root / "to-dir").symlink_to("sub")
    (root / "dangling").symlink_to("nowhere")
    (root / "out-file").symlink_to("../outside/f")
    (root / "out-new").symlink_to("../outside/new")
    (root / "out-dir").symlink_to("../outside")
    os.mkfifo(root / "fifo")
    monkeypatch.chdir(root)
    return root


@pytest.fixture(autouse=True)
def _nothing_is_left(root: Path) -> Any:
    """Check after each test that nothing outside changed and no file was left over."""
    yield
    assert {p.name: p.read_text() for p in (root.parent / "outside").iterdir()} == {
        "f": "secret"
    }
    assert [p for p in root.rglob("*") if p.name.startswith(".toolrt-")] == []


def acting(act: Callable[[], object], *, at_check: int) -> CallContext:
    """Return a context that does *act* when the tool looks at its deadline that often."""
    checks = iter(range(1, 100))

    def monotonic_ns() -> int:
        if next(checks) == at_check:
            act()
        return time.monotonic_ns()

    return msgspec.structs.replace(context(), monotonic_ns=monotonic_ns)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


REFUSED = [
    ("", "IS_DIR"),
    (".", "IS_DIR"),
    ("sub", "IS_DIR"),
    ("sub/", "IS_DIR"),
    ("f/", "IS_DIR"),
    ("sub/..", "IS_DIR"),
    ("{root}", "IS_DIR"),
    ("..", "OUTSIDE_ROOTS"),
    ("../outside/f", "OUTSIDE_ROOTS"),
    ("../outside/new", "OUTSIDE_ROOTS"),
    ("sub/../../outside/new", "OUTSIDE_ROOTS"),
    ("{root}/../outside/new", "OUTSIDE_ROOTS"),
    ("/new", "OUTSIDE_ROOTS"),
    ("out-dir/new", "OUTSIDE_ROOTS"),
    ("out-file", "OUTSIDE_ROOTS"),
    ("out-new", "OUTSIDE_ROOTS"),
    ("to-file", "NOT_A_FILE"),
    ("dangling", "NOT_A_FILE"),
    ("fifo", "NOT_A_FILE"),
    ("missing/f", "NOT_FOUND"),
    ("f/below", "NOT_FOUND"),
    ("a\0b", "NOT_FOUND"),
    ("\ud800", "NOT_FOUND"),
    ("x" * 300, "IO"),
]


@pytest.mark.parametrize(("path", "code"), REFUSED)
def test_what_is_no_place_for_a_file_is_refused(
    root: Path, path: str, code: str
) -> None:
    """Directories, links, special files and every way out have their codes."""
    path = path.format(root=root)

    assert code_of("fs.write", path=path, text="x") == code


@pytest.mark.parametrize(
    ("path", "code"),
    [row for row in REFUSED if row[0] != "x" * 300] + [("missing", "NOT_FOUND")],
)
def test_edit_is_refused_where_write_is(root: Path, path: str, code: str) -> None:
    """Both tools find their file in the same way."""
    path = path.format(root=root)

    assert code_of("fs.edit", path=path, old="one", new="x") == code


class TestWrite:
    @pytest.mark.parametrize("path", ["new", "sub/new", "to-dir/new", "./sub/../new"])
    def test_new_file_is_made(self, path: str) -> None:
        """The answer tells what was written and that it is new."""
        told = call("fs.write", path=path, text="é\n")

        assert Path(path).read_bytes() == "é\n".encode()
        assert told == {
            "path": path, "bytes": 3, "created": True, "sha256": sha256("é\n"),
        }  # fmt: skip

    def test_file_is_replaced(self) -> None:
        """A file that was there is told apart from a new one."""
        told = call("fs.write", path="f", text="")

        assert Path("f").read_bytes() == b""
        assert (told["created"], told["bytes"]) == (False, 0)

    @pytest.mark.parametrize(
        ("create", "path", "code"),
        [("new", "f", "EXISTS"), ("replace", "missing", "NOT_FOUND")],
    )
    def test_create_is_obeyed(self, create: str, path: str, code: str) -> None:
        """A file that must not or must be there stays as it is, or away."""
        assert code_of("fs.write", path=path, text="x", create=create) == code

        assert Path("f").read_text() == "one two two\n"
        assert not Path("missing").exists()

    @pytest.mark.parametrize(("create", "path"), [("new", "missing"), ("replace", "f")])
    def test_create_lets_the_other_through(self, create: str, path: str) -> None:
        """Where the wish is met, the text is written."""
        call("fs.write", path=path, text="x", create=create)

        assert Path(path).read_text() == "x"

    def test_parents_are_made_on_demand(self) -> None:
        """All missing directories are made, through a link inside as well."""
        call("fs.write", path="to-dir/a/b/c", text="x", parents=True)

        assert Path("sub/a/b/c").read_text() == "x"

    @pytest.mark.parametrize("path", ["out-dir/a/b", "../outside/a/b", "a/../../b"])
    def test_parents_are_never_made_outside(self, path: str) -> None:
        """To make directories is bound to the roots like all else."""
        assert code_of("fs.write", path=path, text="x", parents=True) == "OUTSIDE_ROOTS"

    def test_permissions_of_a_new_file_follow_the_umask(self) -> None:
        """A new file is like one that any program makes."""
        before = os.umask(0o027)
        try:
            call("fs.write", path="new", text="x")
        finally:
            os.umask(before)

        assert Path("new").stat().st_mode & 0o7777 == 0o640

    @pytest.mark.parametrize("mode", [0o600, 0o755, 0o666])
    def test_permissions_of_a_replaced_file_are_kept(self, mode: int) -> None:
        """A script stays executable, a private file private."""
        Path("f").chmod(mode)

        call("fs.write", path="f", text="x")

        assert Path("f").stat().st_mode & 0o7777 == mode

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
    def test_owner_of_a_replaced_file_is_kept(self) -> None:
        """What root edits does not become root's."""
        os.chown("f", 12345, 54321)

        call("fs.write", path="f", text="x")

        assert (Path("f").stat().st_uid, Path("f").stat().st_gid) == (12345, 54321)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
    @pytest.mark.parametrize(("name", "mode"), [("f", 0o400), (".", 0o500)])
    def test_what_may_not_be_written_is_a_permission_error(
        self, name: str, mode: int
    ) -> None:
        """A read-only file stays one, though its directory would allow a new one."""
        Path(name).chmod(mode)
        try:
            assert code_of("fs.write", path="f", text="x") == "PERMISSION"
        finally:
            Path(name).chmod(0o700)

    def test_limit_is_the_last_size_that_passes(self) -> None:
        """Bytes are counted, not characters."""
        limit = StdSettings(max_bytes=4)

        assert call("fs.write", limit, path="new", text="éé")["bytes"] == 4
        assert code_of("fs.write", limit, path="new", text="ééx") == "TOO_LARGE"
        assert Path("new").read_text() == "éé"

    def test_text_that_is_no_unicode_is_refused(self) -> None:
        """A lone surrogate cannot be written as UTF-8."""
        assert code_of("fs.write", path="new", text="\ud800") == "ENCODING"

    def test_file_that_comes_meanwhile_is_not_overwritten(self) -> None:
        """`new` holds at the moment when the file gets its name."""
        ctx = acting(lambda: Path("new").write_text("theirs"), at_check=1)

        code = code_of("fs.write", None, ctx, path="new", text="x", create="new")

        assert (code, Path("new").read_text()) == ("EXISTS", "theirs")

    def test_link_that_comes_meanwhile_is_not_written_through(self, root: Path) -> None:
        """A link put in the file's place is replaced itself."""

        def swap() -> None:
            Path("f").unlink()
            Path("f").symlink_to("../outside/f")

        call("fs.write", None, acting(swap, at_check=1), path="f", text="x")

        assert not Path("f").is_symlink()
        assert Path("f").read_text() == "x"

    def test_directory_that_comes_meanwhile_is_told(self) -> None:
        """A directory in the file's place is left alone."""
        ctx = acting(lambda: Path("new").mkdir(), at_check=1)

        assert code_of("fs.write", None, ctx, path="new", text="x") == "IS_DIR"

    def test_directory_moved_meanwhile_is_still_the_one_written_to(
        self, root: Path
    ) -> None:
        """A link in place of the directory leads nowhere: the file is in the old one."""

        def swap() -> None:
            Path("sub").rename("aside")
            Path("sub").symlink_to("../outside")

        call("fs.write", None, acting(swap, at_check=1), path="sub/new", text="x")

        assert Path("aside/new").read_text() == "x"

    def test_nobody_reads_half_a_text(self) -> None:
        """Whoever reads meanwhile gets the old text or the new one."""
        texts = {char * 100_000 for char in "ab"}
        call("fs.write", path="f", text="a" * 100_000)
        seen, done = set(), threading.Event()

        def read() -> None:
            while not done.is_set():
                seen.add(Path("f").read_text())

        reading = threading.Thread(target=read)
        reading.start()
        for _ in range(20):
            for text in texts:
                call("fs.write", path="f", text=text)
        done.set()
        reading.join()

        assert seen <= texts


class TestEdit:
    def test_single_occurrence_is_replaced(self) -> None:
        """The answer has the digest that guards the next edit."""
        told = call("fs.edit", path="f", old="one", new="1")

        assert Path("f").read_text() == "1 two two\n"
        assert told == {"path": "f", "replaced": 1, "sha256": sha256("1 two two\n")}

    def test_all_occurrences_are_replaced_on_demand(self) -> None:
        """The count tells how many there were."""
        told = call("fs.edit", path="f", old="two", new="2", all=True)

        assert (told["replaced"], Path("f").read_text()) == (2, "one 2 2\n")

    @pytest.mark.parametrize(
        ("content", "old", "times"), [("x two two", "two", 2), ("aaa", "aa", 2)]
    )
    def test_text_that_is_there_twice_is_ambiguous(
        self, content: str, old: str, times: int
    ) -> None:
        """The count is told; occurrences that overlap count as well."""
        Path("f").write_text(content)

        with pytest.raises(ToolError, match=f"AMBIGUOUS: .* {times} times"):
            call("fs.edit", path="f", old=old, new="x")
        assert Path("f").read_text() == content

    @pytest.mark.parametrize("everywhere", [False, True])
    def test_text_that_is_not_there_is_no_match(self, everywhere: bool) -> None:
        """To replace nothing is an error."""
        params = {"path": "f", "old": "One", "new": "x", "all": everywhere}

        assert code_of("fs.edit", **params) == "NO_MATCH"

    def test_bytes_around_the_text_stay(self) -> None:
        """Line ends and a byte order mark are left as they are."""
        Path("f").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")

        call("fs.edit", path="f", old="b", new="c\nd")

        assert Path("f").read_bytes() == b"\xef\xbb\xbfa\r\nc\nd\r\n"

    def test_edits_can_be_chained_by_digest(self) -> None:
        """What one call returns is what the next one expects."""
        digest = call("fs.write", path="f", text="a")["sha256"]
        digest = call("fs.edit", path="f", old="a", new="b", expected_sha256=digest)[
            "sha256"
        ]
        call("fs.edit", path="f", old="b", new="c", expected_sha256=digest)

        assert Path("f").read_text() == "c"

    def test_file_with_another_digest_is_refused(self) -> None:
        """A file changed since the digest was given is left alone."""
        digest = call("fs.write", path="f", text="one")["sha256"]
        Path("f").write_text("one!")
        params = {"path": "f", "old": "one", "new": "x", "expected_sha256": digest}

        assert code_of("fs.edit", **params) == "FILE_MODIFIED"
        assert Path("f").read_text() == "one!"

    @pytest.mark.parametrize("at_check", [1, 2, 3])
    @pytest.mark.parametrize(
        ("change", "content"),
        [
            pytest.param(lambda: Path("f").write_text("one!"), "one!", id="written"),
            pytest.param(lambda: os.replace("g", "f"), "one g", id="replaced"),
            pytest.param(lambda: Path("f").unlink(), None, id="removed"),
        ],
    )
    def test_change_meanwhile_is_refused(
        self, at_check: int, change: Callable[[], object], content: str | None
    ) -> None:
        """From the reading to the renaming, another's change is never overwritten."""
        Path("g").write_text("one g")
        ctx = acting(change, at_check=at_check)

        code = code_of("fs.edit", None, ctx, path="f", old="one", new="1")

        assert code == "FILE_MODIFIED"
        assert (Path("f").read_text() if Path("f").exists() else None) == content

    def test_permissions_are_kept(self) -> None:
        """An edited script stays executable."""
        Path("f").chmod(0o750)

        call("fs.edit", path="f", old="one", new="1")

        assert Path("f").stat().st_mode & 0o7777 == 0o750

    @pytest.mark.parametrize(
        ("path", "new", "max_bytes", "code"),
        [
            ("latin", "x", 100, "ENCODING"),
            ("f", "\udcff", 100, "ENCODING"),
            ("f", "x", 11, "TOO_LARGE"),
            ("f", "12345", 13, "TOO_LARGE"),
        ],
    )
    def test_text_beyond_the_limits_is_refused(
        self, path: str, new: str, max_bytes: int, code: str
    ) -> None:
        """The limits hold for the file as it is and as it would be."""
        limit = StdSettings(max_bytes=max_bytes)

        assert code_of("fs.edit", limit, path=path, old="one", new=new) == code


@pytest.mark.parametrize("verb", ["fs.write", "fs.edit"])
def test_nothing_is_changed_past_the_deadline(verb: str) -> None:
    """A call that is late at its last step leaves the file as it was."""
    late = iter([0] * (2 if verb == "fs.edit" else 0) + [1 << 62])
    ctx = msgspec.structs.replace(context(), deadline_ns=1, monotonic_ns=late.__next__)
    params = {"text": "x"} if verb == "fs.write" else {"old": "one", "new": "1"}

    with pytest.raises(ToolTimeoutError):
        call(verb, None, ctx, path="f", **params)

    assert Path("f").read_text() == "one two two\n"


def test_no_descriptor_is_left_open(root: Path) -> None:
    """Whatever comes of a call, it closes what it opened."""
    before = set(Path("/dev/fd").iterdir())
    call("fs.write", path="a/b", text="x", parents=True)
    call("fs.edit", path="a/b", old="x", new="y")
    for path, _ in REFUSED:
        code_of("fs.write", path=path.format(root=root), text="x")

    assert set(Path("/dev/fd").iterdir()) == before
