"""Where the public test vectors are: `$QUORATE_VECTORS`, else `../shared/vectors` beside the checkout."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(os.environ.get("QUORATE_VECTORS") or Path(__file__).resolve().parents[3] / "shared" / "vectors")


def folder(name: str) -> Path:
    """The folder of one set of vectors; skips the calling module when it is absent."""
    path = ROOT / name
    if not path.is_dir():
        pytest.skip(f"test vectors {name!r} are not there: set QUORATE_VECTORS", allow_module_level=True)
    return path


def load(path: Path) -> Any:
    """A vector file as ordinary JSON (floats included)."""
    return json.loads(path.read_bytes())
