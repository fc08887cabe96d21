"""Which images there are, and making one: a cached OCI archive, and giving it to nodes."""

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from quorate_cli.sandbox import gobuild
from quorate_cli.sandbox.binaries import cache_root
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.images import tree
from quorate_cli.sandbox.images.tree import Recipe
from quorate_cli.sandbox.layout import locked
from quorate_cli.sandbox.nodes import image

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Known:
    """An image of the project."""

    recipe: Recipe
    entrypoint: tuple[str, ...]

    def environment(self) -> list[str]:
        """Variables of its processes."""
        return [
            "PATH=/usr/local/bin",
            f"PYTHONPATH=/{tree.site_packages()}",
            "PYTHONUNBUFFERED=1",
            f"SSL_CERT_FILE=/{tree.CERTIFICATES}",
            "HOME=/tmp",
        ]


_ALL = {
    "operator": Known(
        Recipe("quorate", ("object-store", "pkcs11"), ("quorate", "quorate_operator", "quorate_cli")),
        ("/usr/local/bin/quorate-operator",),
    ),
    "agent": Known(
        Recipe("quorate", ("agent",), ("quorate", "quorate_agent"), without=("kopf", "psycopg", "rich", "typer")),
        ("/usr/local/bin/quorate-agent",),
    ),
    "workload": Known(Recipe(), ("/usr/local/bin/python3",)),
}


def _is_here(known: Known) -> bool:
    """Whether the package that an image runs can be run here."""
    return all(find_spec(module) and find_spec(f"{module}.__main__") for module in known.recipe.modules[-1:])


IMAGES = {name: known for name, known in _ALL.items() if _is_here(known)}
"""Name → image, of those whose package is here. `workload` is Python and its standard library, for pods."""


@dataclass(frozen=True, slots=True)
class Built:
    """An image that is there."""

    reference: str
    """What a pod calls it."""
    digest: str
    """Of its manifest, `sha256:…`."""
    archive: Path
    size: int
    """Of the archive, in bytes."""


def reference(name: str) -> str:
    """What pods call an image."""
    return f"quorate.dev/{name}:dev"


def make(name: str, say: Say) -> Built:
    """An image of `IMAGES`, from the cache if nothing that is in it has changed.

    Raises:
        SandboxError: there is no such image, something of it is not installed, or the disk refuses.
    """
    if name not in IMAGES:
        raise SandboxError(f"image {name!r}: must be one of {', '.join(IMAGES)}, or the file of an OCI archive")
    directory = cache_root() / "images"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory / f".{name}.lock"):
            found = tree.contents(IMAGES[name].recipe)
            archive = directory / f"{name}-{tree.fingerprint(found)}.tar"
            if not archive.exists():
                gobuild.check_space(directory)
                _build(name, found, archive, say)
            return Built(reference(name), _digest(archive), archive, archive.stat().st_size)
    except OSError as error:
        raise SandboxError(
            f"the image {name} cannot be kept in {directory} ({error.strerror}); "
            "free space there, or name another directory in QUORATE_CACHE"
        ) from None


def _build(name: str, found: dict[str, tree.Content], archive: Path, say: Say) -> None:
    root = archive.with_name(f".part-{name}")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o755)
    try:
        say(f"building the image {name} ({len(found)} files; half a minute on two cores)")
        tree.build(found, root)
        say(f"writing the image {name}")
        known = IMAGES[name]
        image.write(
            image.Image(
                reference(name),
                {path.name: path for path in sorted(root.iterdir())},
                entrypoint=known.entrypoint,
                environment=known.environment(),
                user=f"{tree.USER}:{tree.USER}",
            ),
            archive,
        )
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for older in archive.parent.glob(f"{name}-*.tar"):
        if older != archive:
            older.unlink()


def _digest(archive: Path) -> str:
    with tarfile.open(archive) as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        return str(json.load(index)["manifests"][0]["digest"])
