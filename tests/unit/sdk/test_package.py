"""The package is what it says: standard library only, Python 3.9's syntax, a wheel of its own."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parents[3] / "sdk"
MODULES = sorted((SDK / "quorate_mission").glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_it_needs_the_standard_library_only(path: Path) -> None:
    """Every import is of the standard library or the package itself; the helpers import what they are for."""
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    own = {"quorate_mission", path.stem} if path.stem in {"cupy", "torch"} else {"quorate_mission"}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | own


def test_it_runs_from_its_wheel_alone(tmp_path: Path) -> None:
    """The wheel holds the package and its type marker, and imports without site packages."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=SDK, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"quorate_mission/{path.name}" for path in MODULES} | {"quorate_mission/py.typed"} <= set(names)
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); import quorate_mission as q; q.connect('/none').iteration(1)"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=60)
