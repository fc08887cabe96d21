"""A program that signs: the port to a cloud KMS or to any other key store (docs/signers.md).

The program gets one request as JSON on standard input and answers with one JSON object on standard output; standard
error stays the person's, so that it may ask for something. It runs without a shell, and for a bounded time.
"""

import os
import select
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import IO, Any

import orjson

from quorate.canonical import NotCanonicalError, decode_base64, encode_base64, parse_json
from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate_cli.output import BadInputError, CliError, UnreachableError

VERSION = "quorate.dev/signer/v1"
TIMEOUT_SECONDS = 60.0  # a person may have to confirm, or to touch a token
MAX_ANSWER = 65_536


@dataclass(frozen=True)
class ProgramSigner:
    """A key behind a program; each signature is one run of it."""

    command: tuple[str, ...]
    public_key: bytes
    timeout: float = TIMEOUT_SECONDS

    @property
    def label(self) -> str:
        """`exec:` and the program, without its arguments."""
        return f"exec:{self.command[0]}"

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes that the program answers with; whoever uses them verifies them (`Checked`)."""
        body = {"publicKey": encode_base64(self.public_key), "message": encode_base64(message)}
        answer = ask(self.command, "Sign", body, timeout=self.timeout)
        try:
            return decode_base64(answer.get("signature"), length=64)
        except ValueError as error:
            raise CliError(f"--key {self.label}: answered with signature {error}") from error


def find_program(command: str, *, timeout: float = TIMEOUT_SECONDS) -> ProgramSigner:
    """The signer of `command` (split as a shell would, run without one), whose public key it is asked for first."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        # Without its text: an argument may be a secret.
        raise BadInputError(f"--key exec: cannot be split into program and arguments: {error}") from error
    if not words:
        raise BadInputError("--key exec: names no program; write exec:PROGRAM, or exec:'PROGRAM ARGUMENT…'")
    answer = ask(words, "PublicKey", {}, timeout=timeout)
    try:
        return ProgramSigner(words, parse_public_key(answer["publicKey"]), timeout)
    except KeyError as error:
        raise CliError(f"--key exec:{words[0]}: its answer to PublicKey holds no publicKey") from error
    except KeyRefusedError as error:
        raise CliError(f"--key exec:{words[0]}: answered with publicKey that is refused: {error}") from error


def ask(command: tuple[str, ...], kind: str, body: dict[str, str], *, timeout: float) -> dict[str, Any]:
    """One request and its answer; CliError for an answer that is not of the form, UnreachableError for none."""
    label = f"--key exec:{command[0]}"
    # A file, so that a program that answers before it has read everything cannot block us, nor we it.
    with tempfile.TemporaryFile() as request:
        request.write(orjson.dumps({"apiVersion": VERSION, "kind": kind, **body}))
        request.seek(0)
        try:
            process = subprocess.Popen(command, stdin=request, stdout=subprocess.PIPE)
        except OSError as error:
            raise UnreachableError(f"{label}: cannot be run: {error.strerror or error}") from error
    with process:
        try:
            data = _read(process, label, time.monotonic() + timeout)
        except CliError:
            process.kill()
            raise
    if process.returncode != 0:
        raise CliError(f"{label}: refused to answer {kind}: it ended with exit status {process.returncode}")
    return _parse(data, kind, label)


def _read(process: subprocess.Popen[bytes], label: str, deadline: float) -> bytes:
    """Its output and its end, both before the deadline and within MAX_ANSWER bytes."""
    output: IO[bytes] | None = process.stdout
    assert output is not None
    data = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([output], [], [], left)[0]:
            raise UnreachableError(f"{label}: did not answer in time; it was ended")
        part = os.read(output.fileno(), MAX_ANSWER)
        if not part:
            break
        data += part
        if len(data) > MAX_ANSWER:
            raise CliError(f"{label}: answered with more than {MAX_ANSWER} bytes")
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"{label}: did not end in time; it was ended") from error
    return data


def _parse(data: bytes, kind: str, label: str) -> dict[str, Any]:
    try:
        answer = parse_json(data)
    except NotCanonicalError as error:
        raise CliError(f"{label}: answered {kind} with what is no JSON object: {error}") from error
    if not isinstance(answer, dict) or answer.get("apiVersion") != VERSION:
        raise CliError(f"{label}: answered {kind} without apiVersion {VERSION}")
    return answer
