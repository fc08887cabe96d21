"""Keys in the SSH agent (draft-miller-ssh-agent): list identities, ask for a signature. Ed25519 only.

An agent signs the message itself for ssh-ed25519, so its signature is a plain Ed25519 signature.
"""

import base64
import os
import socket
import struct
import time
from dataclasses import dataclass
from hashlib import sha256

from quorate.canonical import encode_base64
from quorate.identity.ed25519 import check_public_key
from quorate_cli.output import BadInputError, UnreachableError

_REQUEST_IDENTITIES, _IDENTITIES = 11, 12
_SIGN, _SIGNATURE = 13, 14
_ED25519 = b"ssh-ed25519"
MAX_MESSAGE = 256 * 1024
TIMEOUT_SECONDS = 60.0  # a person may have to confirm, or to touch a token


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _read_string(data: bytes, at: int) -> tuple[bytes, int]:
    if at + 4 > len(data):
        raise ValueError("truncated")
    end = at + 4 + int(struct.unpack_from(">I", data, at)[0])
    if end > len(data):
        raise ValueError("truncated")
    return data[at + 4 : end], end


@dataclass(frozen=True)
class Identity:
    """One Ed25519 key that the agent holds."""

    public_key: bytes
    comment: str

    @property
    def blob(self) -> bytes:
        """The key as the agent names it."""
        return _string(_ED25519) + _string(self.public_key)

    @property
    def fingerprint(self) -> str:
        """`SHA256:…` as ssh-add -l prints it."""
        return "SHA256:" + base64.b64encode(sha256(self.blob).digest()).decode().rstrip("=")

    def answers_to(self, wanted: str) -> bool:
        """Whether `wanted` is this key's comment, fingerprint or public key (43 characters)."""
        return wanted in (self.comment, self.fingerprint, encode_base64(self.public_key))


class Agent:
    """A connection to the agent at a Unix socket; one request each, bounded in size and time."""

    def __init__(self, path: str) -> None:
        self._path = path

    def ask(self, kind: int, body: bytes, expected: int) -> bytes:
        """The body of the answer; UnreachableError if there is none, BadInputError if the agent refuses."""
        if len(body) + 1 > MAX_MESSAGE:
            rule = f"the agent takes at most {MAX_MESSAGE} bytes, this needs {len(body)}; sign it with a key file"
            raise BadInputError(f"SSH agent: {rule}")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                deadline = time.monotonic() + TIMEOUT_SECONDS
                connection.connect(self._path)
                connection.sendall(struct.pack(">IB", len(body) + 1, kind) + body)
                (length,) = struct.unpack(">I", _receive(connection, 4, deadline))
                if not 0 < length <= MAX_MESSAGE:
                    raise UnreachableError(f"SSH agent: answered with {length} bytes; at most {MAX_MESSAGE} are read")
                answer = _receive(connection, length, deadline)
        except OSError as error:
            raise UnreachableError(f"SSH agent at {self._path}: {error.strerror or error}") from error
        if answer[0] != expected:
            raise BadInputError("SSH agent: refused the request (locked, or not confirmed)")
        return answer[1:]

    def identities(self) -> list[Identity]:
        """The Ed25519 keys that the agent holds."""
        answer = self.ask(_REQUEST_IDENTITIES, b"", _IDENTITIES)
        found: list[Identity] = []
        try:
            (count,) = struct.unpack_from(">I", answer)
            at = 4
            for _ in range(min(count, 1024)):
                blob, at = _read_string(answer, at)
                comment, at = _read_string(answer, at)
                kind, middle = _read_string(blob, 0)
                if kind == _ED25519:
                    key, _ = _read_string(blob, middle)
                    found.append(Identity(check_public_key(key), comment.decode(errors="replace")))
        except (ValueError, struct.error) as error:
            raise UnreachableError(f"SSH agent: its list of keys cannot be read: {error}") from error
        return found

    def sign(self, identity: Identity, message: bytes) -> bytes:
        """The 64-byte signature of `message` by a key that the agent holds."""
        answer = self.ask(_SIGN, _string(identity.blob) + _string(message) + struct.pack(">I", 0), _SIGNATURE)
        try:
            blob, _ = _read_string(answer, 0)
            kind, middle = _read_string(blob, 0)
            signature, _ = _read_string(blob, middle)
        except ValueError as error:
            raise UnreachableError(f"SSH agent: its signature cannot be read: {error}") from error
        if kind != _ED25519 or len(signature) != 64:
            raise UnreachableError(f"SSH agent: answered with a signature of {kind.decode(errors='replace')!r}")
        return signature


def _receive(connection: socket.socket, length: int, deadline: float) -> bytes:
    data = b""
    while len(data) < length:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left)  # of the whole answer, however many parts it comes in
        part = connection.recv(length - len(data))
        if not part:
            raise OSError("closed the connection")
        data += part
    return data


@dataclass(frozen=True)
class AgentSigner:
    """A key in the agent."""

    agent: Agent
    identity: Identity

    @property
    def label(self) -> str:
        """The key's comment."""
        return f"agent:{self.identity.comment}"

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes."""
        return self.identity.public_key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self.agent.sign(self.identity, message)


def find_in_agent(wanted: str) -> AgentSigner:
    """The signer for the agent's key with this comment, fingerprint or public key."""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        raise UnreachableError("SSH agent: SSH_AUTH_SOCK is not set; start one with `eval $(ssh-agent)`")
    agent = Agent(path)
    identities = agent.identities()
    matches = [identity for identity in identities if identity.answers_to(wanted)]
    if len(matches) == 1:
        return AgentSigner(agent, matches[0])
    if matches:
        raise BadInputError(f"--key agent:{wanted}: {len(matches)} keys have this comment; name one by its fingerprint")
    held = ", ".join(identity.comment or identity.fingerprint for identity in identities) or "no Ed25519 key"
    raise BadInputError(f"--key agent:{wanted}: the agent holds no such Ed25519 key; it holds {held}")
