"""Private keys in files that nobody else can read."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from quorate.identity import ed25519
from quorate.identity.vkey import parse_signer_key
from quorate_cli.output import BadInputError

MAX_KEY_BYTES = 16_384


@dataclass(frozen=True)
class FileSigner:
    """An Ed25519 key from a file; its repr shows no secret."""

    label: str
    public_key: bytes
    _seed: bytes = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return ed25519.sign(self._seed, message)


def read_key_bytes(path: Path) -> bytes:
    """The content of a key file that only its owner can read; BadInputError says what is wrong, never what is in it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise BadInputError(f"key file {path}: is not a regular file")
            if mode & 0o077:
                rule = f"may be read by its owner only (0600), not {stat.S_IMODE(mode):04o}: chmod 600 {path}"
                raise BadInputError(f"key file {path}: {rule}")
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise BadInputError(f"key file {path}: {error.strerror or error}") from error


def read_key_file(source: str | Path) -> FileSigner:
    """The signer of a key file: PKCS#8 or OpenSSH PEM without a password, or a C2SP private key."""
    path = Path(source)
    seed = _seed(path, read_key_bytes(path))
    return FileSigner(str(path), ed25519.public_key_of(seed), seed)


def _seed(path: Path, data: bytes) -> bytes:
    if data.startswith(b"PRIVATE+KEY+"):
        try:
            return parse_signer_key(data.decode(errors="replace")).seed
        except ValueError as error:
            raise BadInputError(f"key file {path}: {error}") from error
    try:
        if data.startswith(b"-----BEGIN OPENSSH"):
            key: object = serialization.load_ssh_private_key(data, password=None)
        else:
            key = serialization.load_pem_private_key(data, password=None)
    except TypeError as error:
        rule = "is protected by a password: add it to the SSH agent and use --key agent:COMMENT"
        raise BadInputError(f"key file {path}: {rule}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInputError(f"key file {path}: is not a PEM, OpenSSH or C2SP private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInputError(f"key file {path}: holds a {type(key).__name__.strip('_')}; only Ed25519 is used")
    return key.private_bytes_raw()


def write_private(path: Path, data: bytes) -> None:
    """Write a new file with mode 0600; an existing one is refused, because a key cannot be made again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise BadInputError(f"key file {path}: exists and is not overwritten") from error
    except OSError as error:
        raise BadInputError(f"key file {path}: {error.strerror or error}") from error
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def pem_of(seed: bytes) -> bytes:
    """PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it."""
    return Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
