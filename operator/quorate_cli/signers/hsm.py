"""Keys on a PKCS#11 token: an HSM, a smart card, SoftHSM. Named by an RFC 7512 URI, used through python-pkcs11.

The PIN comes from the file of `pin-source`, from the token's own pad, or from the terminal. `pin-value` is refused: a
command line can be read by everybody on the machine, and shells remember it.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, unquote_to_bytes

from quorate.identity.ed25519 import KeyRefusedError, check_public_key
from quorate_cli.output import BadInputError, CliError, UnreachableError
from quorate_cli.signers.keyfile import read_key_bytes

if TYPE_CHECKING:
    from pkcs11 import Session, Token

T = TypeVar("T")
TIMEOUT_SECONDS = 60.0  # a person may have to touch the token
_PATH = frozenset({"token", "serial", "manufacturer", "model", "object", "id", "type"})
_QUERY = frozenset({"module-path", "pin-source"})


@dataclass(frozen=True)
class TokenUri:
    """What a `pkcs11:` URI says: attributes of token and key (percent-decoded), the module, where the PIN is."""

    text: str
    path: Mapping[str, str]
    key_id: bytes | None
    module: str
    pin_file: Path | None

    @property
    def label(self) -> str:
        """The URI without its query: what identifies the key."""
        return self.text.partition("?")[0]

    @classmethod
    def parse(cls, text: str) -> "TokenUri":
        """From `pkcs11:token=…;object=…?module-path=…&pin-source=file:…`; BadInputError names what is refused."""
        body, _, query = text.removeprefix("pkcs11:").partition("?")
        label = f"--key pkcs11:{body}"
        raw, asked = _attributes(body, ";", _PATH, label), _attributes(query, "&", _QUERY, label)
        path = {name: unquote(value) for name, value in raw.items() if name != "id"}
        key_id = unquote_to_bytes(raw["id"]) if "id" in raw else None
        if key_id is None and "object" not in path:
            raise BadInputError(f"{label}: names no key; add object=LABEL or id=%01")
        if path.get("type", "private") != "private":
            raise BadInputError(f"{label}: type {path['type']!r} cannot sign; leave it out, or write type=private")
        if "module-path" not in asked:
            raise BadInputError(f"{label}: names no module; add ?module-path=/path/to/the/vendor's/library.so")
        source = asked.get("pin-source")
        pin_file = None if source is None else Path(unquote(source).removeprefix("file:"))
        return cls(text, path, key_id, unquote(asked["module-path"]), pin_file)


def _attributes(text: str, separator: str, known: frozenset[str], label: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in filter(None, text.split(separator)):
        name, _, value = item.partition("=")
        if name == "pin-value":
            rule = "would put the PIN on the command line; use pin-source=file:PATH (0600), or leave it out to be asked"
            raise BadInputError(f"--key pkcs11: pin-value {rule}")
        if name not in known:
            raise BadInputError(f"{label}: attribute {name!r} is none of {', '.join(sorted(known))}")
        if name in found:
            raise BadInputError(f"{label}: attribute {name!r} occurs twice")
        found[name] = value
    return found


@dataclass
class TokenSigner:
    """A key on a token; one login, at the first signature, however many follow."""

    uri: TokenUri
    token: "Token"
    public_key: bytes
    key_id: bytes | None
    timeout: float = TIMEOUT_SECONDS
    _session: "Session | None" = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """The URI without its query."""
        return self.uri.label

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature; the PIN is asked for once, and a wrong one is not tried again."""
        if self._session is None:
            pin = _pin(self.uri, self.token)
            self._session = self._bounded(lambda: _log_in(self.token, pin))
        session = self._session
        return self._bounded(lambda: _sign(session, self.uri, self.key_id, message))

    def _bounded(self, work: Callable[[], T]) -> T:
        return bounded(work, self.label, self.timeout)


def find_on_token(source: str, *, timeout: float = TIMEOUT_SECONDS) -> TokenSigner:
    """The signer for the one Ed25519 key that a `pkcs11:` URI names; its public half must be readable without PIN."""
    uri = TokenUri.parse(source)
    try:
        import pkcs11  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise BadInputError(f"--key {uri.label}: needs the extra: pip install 'quorate[pkcs11]'") from error
    if not Path(uri.module).is_file():
        raise UnreachableError(f"--key {uri.label}: module-path {uri.module}: there is no such file")

    def look() -> tuple["Token", bytes, bytes | None]:
        token = _token(uri, pkcs11.lib(uri.module).get_tokens())
        with token.open() as session:
            public_key, key_id = _public_key(session, uri)
        return token, public_key, key_id

    return TokenSigner(uri, *bounded(look, uri.label, timeout), timeout)


def bounded(work: Callable[[], T], label: str, timeout: float) -> T:
    """What `work` gives, or a CliError that names the key: the module's failure, or that it did not answer in time.

    A module is a foreign library in this process: it cannot be interrupted, so its thread is left behind.
    """
    from pkcs11.exceptions import PinIncorrect, PinLocked, PKCS11Error  # noqa: PLC0415 - an extra

    results: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            results.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            results.put((None, error))

    Thread(target=run, name="pkcs11", daemon=True).start()
    try:
        value, error = results.get(timeout=timeout)
    except Empty:
        raise UnreachableError(f"--key {label}: the token did not answer within {timeout:g} s") from None
    if isinstance(error, PinIncorrect | PinLocked):
        state = "is locked" if isinstance(error, PinLocked) else "is not the token's; it is not tried again"
        raise BadInputError(f"--key {label}: the PIN {state}") from None
    if isinstance(error, PKCS11Error):
        said = str(error) or type(error).__name__
        raise UnreachableError(f"--key {label}: the token refused: {said}") from error
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # without an error it is what `work` gave


def _pin(uri: TokenUri, token: "Token") -> Any:
    """The PIN, from where the URI says; PROTECTED_AUTH where the token has a pad of its own."""
    from pkcs11 import PROTECTED_AUTH, TokenFlag  # noqa: PLC0415 - an extra

    if uri.pin_file is not None:
        return _pin_of(uri.pin_file)
    if TokenFlag.PROTECTED_AUTHENTICATION_PATH in token.flags:
        return PROTECTED_AUTH
    if not sys.stdin.isatty():
        rule = "there is no terminal to ask for the PIN; add pin-source=file:PATH (0600) to the URI's query"
        raise BadInputError(f"--key {uri.label}: {rule}")
    return getpass(f"PIN of token {token.label}: ")


def _pin_of(file: Path) -> str:
    """The text of a PIN file; BadInputError rather than a try that the token would count as wrong."""
    try:
        pin = read_key_bytes(file).decode().strip()
    except UnicodeDecodeError:
        raise BadInputError(f"PIN file {file}: is not UTF-8 text") from None  # the error would show the PIN
    if not pin:
        raise BadInputError(f"PIN file {file}: holds no PIN")
    return pin


def _log_in(token: "Token", pin: Any) -> "Session":
    from pkcs11.exceptions import UserAlreadyLoggedIn  # noqa: PLC0415 - an extra

    try:
        return token.open(user_pin=pin)
    except UserAlreadyLoggedIn:
        # A login is the whole process's: another key of this token signed before.
        return token.open()


def _token(uri: TokenUri, tokens: Any) -> "Token":
    wanted = {name: uri.path[name] for name in ("token", "serial", "manufacturer", "model") if name in uri.path}
    found: list[Token] = [token for token in tokens if wanted.items() <= _shown(token).items()]
    if len(found) != 1:
        said = "no token" if not found else f"{len(found)} tokens"
        raise BadInputError(f"--key {uri.label}: {said} of {uri.module} with this token, serial, manufacturer, model")
    return found[0]


def _shown(token: "Token") -> dict[str, str]:
    return {
        "token": token.label,
        "serial": token.serial.decode(errors="replace").strip(),
        "manufacturer": token.manufacturer_id,
        "model": token.model,
    }


def _template(uri: TokenUri, kind: Any, key_id: bytes | None) -> dict[Any, Any]:
    from pkcs11 import Attribute, KeyType  # noqa: PLC0415 - an extra

    template: dict[Any, Any] = {Attribute.CLASS: kind, Attribute.KEY_TYPE: KeyType.EC_EDWARDS}
    if "object" in uri.path:
        template[Attribute.LABEL] = uri.path["object"]
    if key_id is not None:
        template[Attribute.ID] = key_id
    return template


def _public_key(session: "Session", uri: TokenUri) -> tuple[bytes, bytes | None]:
    """The raw public key and the id by which its private half is found."""
    from pkcs11 import Attribute, ObjectClass  # noqa: PLC0415 - an extra

    found = list(session.get_objects(_template(uri, ObjectClass.PUBLIC_KEY, uri.key_id)))
    if len(found) != 1:
        said = "no Ed25519 public key" if not found else f"{len(found)} keys; add id=%.. to name one"
        raise BadInputError(f"--key {uri.label}: the token holds {said} of this name")
    point = bytes(found[0][Attribute.EC_POINT])
    # A DER OCTET STRING, as PKCS#11 says; some tokens give the bytes bare.
    raw = point[2:] if point[:2] == b"\x04\x20" and len(point) == 34 else point
    try:
        return check_public_key(raw), bytes(found[0][Attribute.ID]) or None
    except KeyRefusedError as error:
        raise CliError(f"--key {uri.label}: {error}") from error


def _sign(session: "Session", uri: TokenUri, key_id: bytes | None, message: bytes) -> bytes:
    from pkcs11 import Mechanism, ObjectClass  # noqa: PLC0415 - an extra

    # A list: a search that is still open would be in the way of the signature.
    found = list(session.get_objects(_template(uri, ObjectClass.PRIVATE_KEY, key_id)))
    if len(found) != 1:
        said = "no private key" if not found else f"{len(found)} private keys"
        raise BadInputError(f"--key {uri.label}: the token holds {said} for this public key")
    key: Any = found[0]
    return bytes(key.sign(message, mechanism=Mechanism.EDDSA))
