"""A PKCS#11 token in software (SoftHSM), with one Ed25519 key pair; tests that need it are skipped where it is not."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
PIN = "31415926"


@dataclass(frozen=True)
class SoftToken:
    """A token `governance` with a key `alice`, id 01; its PIN is in a file of mode 0600."""

    module: str
    pin_file: Path

    def uri(self, path: str = "token=governance;object=alice", *, pin: Path | None = None) -> str:
        """The `pkcs11:` URI of a key."""
        return f"pkcs11:{path}?module-path={self.module}&pin-source=file:{pin or self.pin_file}"


def make_token(folder: Path, patch: pytest.MonkeyPatch) -> SoftToken:
    """Initialise the token in `folder`; the module reads its configuration once, so it is one for the whole session."""
    module = next((path for path in MODULES if Path(path).is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("no SoftHSM: install the Debian package softhsm2")
    pkcs11 = pytest.importorskip("pkcs11", reason="no PKCS#11: pip install 'quorate[pkcs11]'")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    patch.setenv("SOFTHSM2_CONF", str(configuration))
    pin_file = folder / "alice.pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(PIN + "\n")
    command = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        "governance",
        "--pin",
        PIN,
        "--so-pin",
        "2718281828",
    ]
    subprocess.run(command, check=True, capture_output=True)
    _make_key(pkcs11.lib(module).get_token(token_label="governance"))
    return SoftToken(module, pin_file)


def _make_key(token: object) -> None:
    from pkcs11 import Attribute, KeyType, Mechanism  # noqa: PLC0415
    from pkcs11.util.ec import encode_named_curve_parameters  # noqa: PLC0415

    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("1.3.101.112")}
    with token.open(rw=True, user_pin=PIN) as session:  # type: ignore[attr-defined]
        parameters = session.create_domain_parameters(KeyType.EC_EDWARDS, curve, local=True)
        parameters.generate_keypair(store=True, label="alice", id=b"\x01", mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN)
