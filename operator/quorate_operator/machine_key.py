"""The operator's own Machine key, as `quorate keygen --purpose machine` writes it."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from quorate.api.conditions import Reason
from quorate.identity.ed25519 import public_key_of
from quorate_operator.errors import Stalled


@dataclass(frozen=True, slots=True)
class MachineKey:
    """The key pair; the 32 bytes of the private half are never printed."""

    public: bytes
    private: bytes = field(repr=False)


def read_machine_key(path: Path | None) -> MachineKey:
    """The key of a file: PKCS#8 PEM, Ed25519, readable by its owner (or, as a mounted Secret, its group) alone.

    Raises:
        Stalled: `NoMachineKey`; the message names the file and what is wrong, never what it holds.
    """
    if path is None:
        raise _refused("the operator has no Machine key; start it with --machine-key FILE (quorate keygen -p machine)")
    try:
        mode, data = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise _refused(f"--machine-key {path}: {error.strerror or error}") from error
    if mode & (stat.S_IWGRP | stat.S_IRWXO) or not os.access(path, os.R_OK):
        rule = f"has mode {stat.S_IMODE(mode):04o}; nobody but its owner may write it, and no others read it"
        raise _refused(f"--machine-key {path}: {rule}")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _refused(f"--machine-key {path}: is no PEM private key without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _refused(f"--machine-key {path}: holds a {type(key).__name__.strip('_')}; only Ed25519 is used")
    seed = key.private_bytes_raw()
    return MachineKey(public_key_of(seed), seed)


def _refused(message: str) -> Stalled:
    return Stalled(Reason.NO_MACHINE_KEY, message)
