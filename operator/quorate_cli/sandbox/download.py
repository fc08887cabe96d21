"""The official release binaries, each checked against the checksum that its project publishes beside it."""

import hashlib
import shutil
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from quorate_cli.sandbox.versions import ETCD, KUBERNETES, KWOK

_KUBERNETES = f"https://dl.k8s.io/{KUBERNETES}/bin"
_ETCD = f"https://github.com/etcd-io/etcd/releases/download/{ETCD}"
_KWOK = f"https://github.com/kubernetes-sigs/kwok/releases/download/{KWOK}"
# Resolving a name has no time limit of its own in the standard library, hence a limit around the whole first contact.
_CONTACT_SECONDS = 3.0
_STALL_SECONDS = 10.0


class UnavailableError(Exception):
    """The release cannot be had from here: no network, no such platform, or a wrong checksum."""


def fetch(name: str, system: str, arch: str, to: Path, say: Callable[[str], None]) -> None:
    """Download one binary to `to`.

    Raises:
        UnavailableError: it cannot be had; nothing usable is at `to`.
    """
    url, checksums = _addresses(name, system, arch)
    published = _contact(checksums).decode(errors="replace")
    expected = _expected(published, url.rpartition("/")[2])
    say(f"downloading {name} from {url}")
    whole = to.with_name(f"{to.name}.download")
    try:
        actual = _save(url, whole)
        if actual != expected:
            raise UnavailableError(f"{url} has SHA-256 {actual}, but {checksums} says {expected}")
        if url.endswith(".tar.gz"):
            _extract(whole, name, to)
        else:
            whole.replace(to)
    finally:
        whole.unlink(missing_ok=True)


def _addresses(name: str, system: str, arch: str) -> tuple[str, str]:
    """Address of the binary or its archive, and of the file with its SHA-256."""
    if system != "linux" and name not in ("kubectl", "kwok"):
        # Kubernetes releases no server binaries for anything else, and etcd is then built like the rest.
        raise UnavailableError(f"{name} is not released for {system}")
    if name == "etcd":
        return f"{_ETCD}/etcd-{ETCD}-{system}-{arch}.tar.gz", f"{_ETCD}/SHA256SUMS"
    if name == "kwok":
        return f"{_KWOK}/kwok-{system}-{arch}", f"{_KWOK}/kwok-{system}-{arch}.sha256"
    return f"{_KUBERNETES}/{system}/{arch}/{name}", f"{_KUBERNETES}/{system}/{arch}/{name}.sha256"


def _expected(published: str, file: str) -> str:
    for line in published.splitlines():
        words = line.split()
        if words and len(words[0]) == 64 and (len(words) == 1 or words[-1].lstrip("*") == file):
            return words[0].lower()
    raise UnavailableError(f"no checksum of {file} is published")


def _open(url: str, timeout: float) -> IO[bytes]:
    try:
        answer: IO[bytes] = urllib.request.urlopen(url, timeout=timeout)  # noqa: S310 - https addresses above
    except urllib.error.HTTPError as error:
        raise UnavailableError(f"{url}: {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{url}: {getattr(error, 'reason', error)}") from None
    return answer


def _contact(url: str) -> bytes:
    """A small file; gives up after a few seconds, whatever hangs."""
    result: list[bytes | UnavailableError] = []

    def read() -> None:
        try:
            with _open(url, _CONTACT_SECONDS) as answer:
                result.append(answer.read(1 << 20))
        except UnavailableError as error:
            result.append(error)
        except OSError as error:
            result.append(UnavailableError(f"{url}: {error}"))

    # A daemon: one that hangs in name resolution must not keep the process.
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(_CONTACT_SECONDS)
    outcome = result[0] if result else UnavailableError(f"{url}: no answer within {_CONTACT_SECONDS:g} s")
    if isinstance(outcome, UnavailableError):
        raise outcome
    return outcome


def _save(url: str, path: Path) -> str:
    """Write the content to `path`; its SHA-256."""
    digest, heard = hashlib.sha256(), time.monotonic()
    with _open(url, _STALL_SECONDS) as answer, path.open("wb") as file:
        try:
            while block := answer.read(1 << 20):
                digest.update(block)
                file.write(block)
                heard = time.monotonic()
        except TimeoutError:
            raise UnavailableError(f"{url}: nothing came for {time.monotonic() - heard:.0f} s") from None
    return digest.hexdigest()


def _extract(archive: Path, name: str, to: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and Path(member.name).name == name and (source := tar.extractfile(member)):
                with to.open("wb") as file:
                    shutil.copyfileobj(source, file)
                return
    raise UnavailableError(f"{archive.name} holds no {name}")
