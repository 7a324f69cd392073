from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolrt.errors import ToolError
from toolrt.std.paths import MAX_LINKS, entries, open_inside, tool_error


class Rooms(NamedTuple):
    """Two neighbours: a root and what must never be read."""

    root: Path
    outside: Path


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rooms:
    """Lay out a root with links of every kind, and stand in it."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "f").write_text("inside")
    (root / "sub" / "g").write_text("below")
    (tmp_path / "root-not").mkdir()
    (tmp_path / "root-not" / "f").write_text("secret")
    outside.mkdir()
    (outside / "f").write_text("secret")
    (outside / "back").symlink_to(root)
    for name, target in LINKS.items():
        (root / name).symlink_to(target.format(root=root, outside=outside))
    monkeypatch.chdir(root)
    return Rooms(root, outside)


LINKS = {
    "to-file": "f",
    "to-dir": "sub",
    "to-absolute": "{root}/sub/g",
    "up-and-back": "sub/../f",
    "out-file": "../outside/f",
    "out-dir": "../outside",
    "out-absolute": "{outside}",
    "out-etc": "/etc",
    "out-chain": "out-dir",
    "dangling": "nowhere",
    "loop": "loop",
}


def text_of(path: str, *roots: Path) -> str:
    opened = open_inside([str(root) for root in roots], path)
    assert not opened.is_dir
    with os.fdopen(opened.fd) as file:
        return file.read()


def code_of(path: str, *roots: Path) -> str:
    with pytest.raises(ToolError) as caught:
        os.close(open_inside([str(root) for root in roots], path).fd)
    return caught.value.code


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("f", "inside"),
        ("./sub//g", "below"),
        ("sub/../f", "inside"),
        ("sub/deep/../../f", "inside"),
        ("to-file", "inside"),
        ("to-dir/g", "below"),
        ("to-dir/../f", "inside"),
        ("to-absolute", "below"),
        ("up-and-back", "inside"),
        ("{root}/f", "inside"),
        ("{root}/./sub/../f", "inside"),
    ],
)
def test_what_lies_inside_is_opened(rooms: Rooms, path: str, text: str) -> None:
    """Links, absolute paths and steps back are fine as long as they stay inside."""
    path = path.format(root=rooms.root)

    assert text_of(path) == text
    assert text_of(path, rooms.root) == text


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/f",
        "../root/f",
        "../root-not/f",
        "{root}-not/f",
        "sub/../../outside/f",
        "to-dir/../../outside/f",
        "/etc/passwd",
        "/",
        "{outside}/f",
        "{root}/../outside/f",
        "out-file",
        "out-dir/f",
        "out-dir",
        "out-dir/back/f",
        "out-absolute/f",
        "out-etc/passwd",
        "out-chain/f",
        "out-dir/../root/f",
        "../does-not-exist",
    ],
)
def test_what_leads_outside_is_refused(rooms: Rooms, path: str) -> None:
    """No way out of the root is taken, not even one that leads back in."""
    path = path.format(root=rooms.root, outside=rooms.outside)

    assert code_of(path) == "OUTSIDE_ROOTS"
    assert code_of(path, rooms.root) == "OUTSIDE_ROOTS"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("missing", "NOT_FOUND"),
        ("missing/f", "NOT_FOUND"),
        ("dangling", "NOT_FOUND"),
        ("f/below", "NOT_FOUND"),
        ("f/..", "NOT_FOUND"),
        ("a\0b", "NOT_FOUND"),
        ("\ud800", "NOT_FOUND"),
        ("loop", "IO"),
        ("x" * 300, "IO"),
    ],
)
def test_what_cannot_be_opened_has_a_code(rooms: Rooms, path: str, code: str) -> None:
    """Each reason why nothing is opened is told apart."""
    assert code_of(path) == code


def test_fifo_and_socket_are_no_files(rooms: Rooms) -> None:
    """What would block or act when it is opened is never opened."""
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")

        assert code_of("fifo") == "NOT_A_FILE"
        assert code_of("socket") == "NOT_A_FILE"


def test_device_is_no_file() -> None:
    """A device inside a root is refused like any other special file."""
    assert code_of("/dev/null", Path("/dev")) == "NOT_A_FILE"


@pytest.mark.parametrize("path", ["", ".", "sub", "sub/deep/..", "to-dir", "sub/"])
def test_directory_is_opened_for_listing(rooms: Rooms, path: str) -> None:
    """A directory comes back as one, and can be listed."""
    opened = open_inside((), path)
    try:
        assert opened.is_dir
        assert list(entries(opened.fd))
    finally:
        os.close(opened.fd)


def test_as_many_links_as_allowed_are_followed(rooms: Rooms) -> None:
    """A chain of links has a limit, and the limit is the last that passes."""
    (rooms.root / "link0").symlink_to("f")
    for n in range(MAX_LINKS):
        (rooms.root / f"link{n + 1}").symlink_to(f"link{n}")

    assert text_of(f"link{MAX_LINKS - 1}") == "inside"
    assert code_of(f"link{MAX_LINKS}") == "IO"


class TestRoots:
    def test_second_root_is_as_good_as_the_first(self, rooms: Rooms) -> None:
        """A path may lie in any root, and a link may lead from one to another."""
        roots = (rooms.root, rooms.outside)

        assert text_of(f"{rooms.outside}/f", *roots) == "secret"
        assert text_of("out-absolute/f", *roots) == "secret"

    def test_root_that_is_a_link_counts_by_both_its_names(self, rooms: Rooms) -> None:
        """The operator may name a root through a link."""
        alias = rooms.outside / "back"

        assert text_of(f"{alias}/f", alias) == "inside"
        assert text_of(f"{rooms.root}/f", alias) == "inside"
        assert text_of("f", alias) == "inside"

    def test_relative_path_below_no_root_is_refused(
        self, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With roots set, the working directory opens nothing by itself."""
        monkeypatch.chdir(rooms.outside)

        assert code_of("f", rooms.root) == "OUTSIDE_ROOTS"
        assert text_of("../root/f", rooms.root.parent) == "inside"

    def test_whole_file_system_can_be_a_root(self, rooms: Rooms) -> None:
        """The root `/` holds every path."""
        assert text_of("../outside/f", Path("/")) == "secret"

    def test_missing_root_is_not_found(self, rooms: Rooms) -> None:
        """A root that is gone opens nothing."""
        gone = rooms.root / "gone"

        assert code_of(f"{gone}/f", gone) == "NOT_FOUND"


def test_no_descriptor_is_left_open(rooms: Rooms) -> None:
    """A walk closes what it opened on the way, however it ends."""
    before = set(Path("/dev/fd").iterdir())
    text_of("sub/../to-dir/../f")
    for path in ("sub/deep/missing", "sub/../../x", "loop", "to-dir/../out-dir/f"):
        code_of(path)

    assert set(Path("/dev/fd").iterdir()) == before


def test_directory_swapped_for_a_link_never_leads_outside(rooms: Rooms) -> None:
    """Whatever is renamed during a walk, nothing outside is read."""
    (rooms.outside / "g").write_text("secret")
    sub, aside = rooms.root / "sub", rooms.root / "aside"
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            sub.rename(aside)
            sub.symlink_to(rooms.outside)
            sub.unlink()
            aside.rename(sub)

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = set()
    try:
        for _ in range(1500):
            try:
                seen.add(text_of("sub/deep/../g"))
            except ToolError as exc:
                seen.add(exc.code)
    finally:
        done.set()
        swapping.join()

    assert seen <= {"below", "NOT_FOUND", "OUTSIDE_ROOTS", "IO"}


NAMES = st.sampled_from(
    ["", ".", "..", "f", "g", "sub", "deep", "root", "outside", *LINKS]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(NAMES, max_size=7))
def test_what_is_opened_is_what_the_path_names(rooms: Rooms, parts: list[str]) -> None:
    """A file that opens is the one the system finds there, and is inside the root."""
    path = "/".join(["x", *parts])[2:]
    try:
        opened = open_inside((), path.lstrip("/"))
    except ToolError:
        return
    try:
        real = Path(os.path.realpath(path.lstrip("/")))
        assert real.is_relative_to(rooms.root)
        assert os.path.samestat(os.fstat(opened.fd), real.stat())
    finally:
        os.close(opened.fd)


def test_refusal_of_the_system_is_a_permission_error() -> None:
    """EACCES becomes its own code, whoever runs the tests."""
    assert tool_error(PermissionError(13, "x"), "f").code == "PERMISSION"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_a_permission_error(rooms: Rooms) -> None:
    """A file that the user may not read is told as such."""
    (rooms.root / "f").chmod(0)

    assert code_of("f") == "PERMISSION"
