"""The wheel: built, installed into a clean environment, looked at from outside."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WHERE = """
import toolrt, toolrt_store, toolrt_cli
print(toolrt.__file__, toolrt_store.__file__, toolrt_cli.__file__)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(target),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment that holds the wheel; what it needs is seen, not fetched."""
    target = tmp_path_factory.mktemp("env")
    venv.create(target, with_pip=True)
    python = target / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)],
        check=True,
        capture_output=True,
    )
    (site,) = (target / "lib").glob("python*/site-packages")
    (ours,) = {p for p in map(Path, sys.path) if (p / "msgspec").is_dir()}
    # Dependencies come from the environment of the tests; the three packages must not.
    (site / "dependencies.pth").write_text(
        f"import sys; sys.path.append({str(ours)!r})\n"
    )
    return target


def test_the_wheel_holds_three_packages_and_nothing_beside_them(wheel: Path) -> None:
    """Three import names, each with py.typed, the licence and the completions."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    packages = {one for one in top if not one.startswith("toolrt-")}

    assert packages == {"toolrt", "toolrt_store", "toolrt_cli"}
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    data = {name.partition(".data/data/")[2] for name in names if ".data/" in name}
    assert data == {
        "share/bash-completion/completions/toolrt",
        "share/zsh/site-functions/_toolrt",
        "share/fish/vendor_completions.d/toolrt.fish",
        "share/toolrt/completions/toolrt.ps1",
    }


def test_the_installed_script_works_from_anywhere(
    installed: Path, tmp_path: Path
) -> None:
    """The console script runs a tool with the code of the wheel."""
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    script = installed / "bin" / "toolrt"

    ran = subprocess.run(
        [script, "run", "echo.say", "text=hi"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=env,
    )
    where = subprocess.run(
        [
            installed / "bin" / "python",
            "-c",
            WHERE,
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=env,
    )

    assert ran.stdout == '{"echoed":{"text":"hi"}}\n'
    assert all(path.startswith(str(installed)) for path in where.stdout.split())


def test_completions_are_installed(installed: Path) -> None:
    """Shells find the scripts under share/."""
    bash = installed / "share" / "bash-completion" / "completions" / "toolrt"

    assert bash.read_bytes() == (ROOT / "completions" / "toolrt.bash").read_bytes()
