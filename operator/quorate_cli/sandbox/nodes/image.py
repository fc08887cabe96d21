"""Images without a container engine: OCI archives of one layer, made from files, the same bytes each time."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quorate_cli.sandbox.binaries import this_machine
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import write_atomically

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
# Not compressed: an archive goes to the same machine, and every node would unpack it again.
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its full name with tag, what is in it, and how it runs."""

    name: str
    files: Mapping[str, Path] = field(default_factory=dict)
    """Path in the image (without a leading `/`) → file or directory here."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Path in the image → target of a symbolic link."""
    entrypoint: Sequence[str] = ()
    environment: Sequence[str] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    user: str = ""


def write(image: Image, archive: Path) -> str:
    """Write an image as an OCI archive, for `RunningNode.load`; its digest (`sha256:…`).

    Raises:
        SandboxError: a file of it is not there.
    """
    layer = _layer(image)
    target = this_machine()
    config = _json(
        {
            "architecture": target.arch,
            "os": target.os,
            "config": {"Entrypoint": list(image.entrypoint), "Env": list(image.environment), "User": image.user},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    layers = [_descriptor(_LAYER, layer)]
    manifest = _json(
        {"schemaVersion": 2, "mediaType": _MANIFEST, "config": _descriptor(_CONFIG, config), "layers": layers}
    )
    named = {"annotations": {"io.containerd.image.name": image.name}, **_descriptor(_MANIFEST, manifest)}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [named]}))
        for blob in (layer, config, manifest):
            _add(tar, f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}", blob)
    write_atomically(archive, content.getvalue(), 0o644)
    return _digest(manifest)


def _layer(image: Image) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _directory(tar, "tmp", 0o1777)
        seen = {"tmp"}
        for path, source in sorted(_entries(image), key=lambda entry: entry[0]):
            for parent in reversed(Path(path).parents[:-1]):
                if str(parent) not in seen:
                    seen.add(str(parent))
                    _directory(tar, str(parent))
            if path not in seen:
                seen.add(path)
                _entry(tar, path, source)
    return content.getvalue()


def _entries(image: Image) -> Iterator[tuple[str, str | Path]]:
    """Path in the image, and the file or directory here (Path) or a link's target (str)."""
    yield from image.links.items()
    for path, source in image.files.items():
        yield path, source
        for below in source.rglob("*") if source.is_dir() else ():
            yield f"{path}/{below.relative_to(source)}", below


def _entry(tar: tarfile.TarFile, path: str, source: str | Path) -> None:
    link = source if isinstance(source, str) else str(source.readlink()) if source.is_symlink() else None
    if link is not None:
        info = tarfile.TarInfo(path)
        info.type, info.linkname = tarfile.SYMTYPE, link
        tar.addfile(info)
    elif Path(source).is_file():
        executable = bool(Path(source).stat().st_mode & 0o111)
        _add(tar, path, Path(source).read_bytes(), 0o755 if executable else 0o644)
    elif Path(source).is_dir():
        _directory(tar, path)
    else:
        raise SandboxError(f"{source} is to be /{path} of an image, and is neither a file nor a directory")


def _directory(tar: tarfile.TarFile, path: str, mode: int = 0o755) -> None:
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, mode
    tar.addfile(info)


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
