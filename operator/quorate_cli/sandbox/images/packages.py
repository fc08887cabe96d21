"""Installed distributions: which ones another needs, and their files."""

import importlib.util
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from quorate_cli.sandbox.errors import SandboxError

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
# Of an installation, not of the package: they name this machine, or change with the installer.
_LEFT_OUT = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}


def closure(name: str, extras: Iterable[str], without: Iterable[str] = ()) -> list[Distribution]:
    """A distribution and all that it needs, by name; what is not installed is not needed here.

    `extras`: which of its own extras count; `without`: distributions that are left out, with what only they need.

    Raises:
        SandboxError: the distribution itself is not installed.
    """
    found: dict[str, Distribution] = {}
    waiting = [(name, frozenset(extras))]
    seen = set(waiting)
    left_out = {_normal(each) for each in without}
    while waiting:
        wanted, chosen = waiting.pop()
        try:
            found[_normal(wanted)] = distribution(wanted)
        except PackageNotFoundError:
            if wanted == name:
                raise SandboxError(f"{name} is not installed here; install it (pip install -e .)") from None
            continue
        for each in _needs(found[_normal(wanted)], chosen):
            if each not in seen and _normal(each[0]) not in left_out:
                seen.add(each)
                waiting.append(each)
    return [found[key] for key in sorted(found)]


def _needs(dist: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Requirements of a distribution, without those of extras that nobody chose.

    Other conditions (system, Python version) need no look: where they do not hold, the requirement is not installed.
    """
    for requirement in dist.requires or ():
        text, _, condition = requirement.partition(";")
        of = set(_EXTRA.findall(condition))
        if (not of or of & extras) and (match := _NAME.match(text)):
            yield match[1], frozenset(each.strip() for each in (match[2] or "").split(",") if each.strip())


def files(dist: Distribution) -> Iterator[tuple[str, Path]]:
    """Path below `site-packages`, and the file here, of a distribution: modules, data and metadata, no scripts."""
    for entry in dist.files or ():
        # `..`: scripts, which name this machine's interpreter. A .pth file is how an editable one is found.
        if ".." in entry.parts or entry.is_absolute() or entry.name in _LEFT_OUT or entry.suffix in (".pyc", ".pth"):
            continue
        path = Path(str(dist.locate_file(entry)))
        if path.is_file():
            yield entry.as_posix(), path


def module_files(package: str) -> Iterator[tuple[str, Path]]:
    """The same for a package of the project, wherever this process imports it from."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SandboxError(f"the package {package} cannot be imported here")
    root = Path(spec.submodule_search_locations[0])
    for path in root.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{package}/{path.relative_to(root).as_posix()}", path


def scripts(dist: Distribution, modules: Iterable[str]) -> dict[str, str]:
    """Name → content of the commands that a distribution offers from `modules`, for the interpreter of an image."""
    return {
        point.name: f"#!/usr/local/bin/python3\nimport sys\nfrom {point.module} import {point.attr}\n"
        f"sys.exit({point.attr}())\n"
        for point in dist.entry_points
        if point.group == "console_scripts" and point.module.partition(".")[0] in modules
    }


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
