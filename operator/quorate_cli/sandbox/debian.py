"""Debian packages by their names, unpacked into the cache; nothing is installed."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from quorate_cli.sandbox.binaries import cache_root
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import locked

_APT_SECONDS = 60


def package(name: str, *, purpose: str, say: Callable[[str], None] = lambda line: None) -> Path:
    """The directory with a package's files, brought with `apt-get download` the first time.

    `purpose`: what it is for, in the sentence that says why it is missing.

    Raises:
        SandboxError: there is no apt, it does not know the package, or it gives no answer.
    """
    root = cache_root() / "debian" / name
    with locked(root.with_name(f".{name}.lock")):
        if not root.exists():
            say(f"unpacking the Debian package {name}, for {purpose}")
            _unpack(name, root, purpose)
    return root


def _unpack(name: str, root: Path, purpose: str) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise SandboxError(f"{purpose} needs {name} of Debian, and there is no apt-get here to bring it")
    part = root.with_name(f".part-{name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    # As root apt would hand the download to a user of its own, who cannot write here.
    user = ["-o", "APT::Sandbox::User=root"] if os.getuid() == 0 else []
    try:
        for args in (["apt-get", *user, "download", name], ["sh", "-c", "dpkg -x ./*.deb . && rm ./*.deb"]):
            subprocess.run(args, cwd=part, check=True, capture_output=True, text=True, timeout=_APT_SECONDS)
        part.rename(root)
    except subprocess.TimeoutExpired:
        raise SandboxError(f"apt-get download {name} gave no answer for {_APT_SECONDS} s; check the network") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()[-1:] or ["it failed"]
        raise SandboxError(
            f"{purpose} needs {name} of Debian: {said[0][:300]}; run `apt-get update` and try again"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
