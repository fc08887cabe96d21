"""Whether a component is ready, asked as its clients would ask."""

import contextlib
import http.client
import ssl
import time
from collections.abc import Callable, Mapping

from quorate_cli.sandbox import postgres
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import Layout

_INTERVAL_SECONDS = 0.03
_REQUEST_SECONDS = 2.0
Check = Callable[[], bool]


def until(check: Check, timeout: float, otherwise: str) -> None:
    """Wait for a condition.

    Raises:
        SandboxError: with the sentence `otherwise`, after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            raise SandboxError(otherwise)
        time.sleep(_INTERVAL_SECONDS)


def check(component: str, layout: Layout, ports: Mapping[str, int]) -> Check:
    """The readiness check of a component; processes without an endpoint are ready when they run."""
    if component == "postgres":
        return lambda: postgres.is_ready(layout)
    if component == "etcd":
        return lambda: _answers(ports["etcd"], "/health", _context(layout, "etcd-ca", "etcd-client"))
    if component == "apiserver":
        return lambda: _answers(ports["apiserver"], "/readyz", _context(layout, "ca", "admin"))
    if component in ("controller-manager", "scheduler"):
        # They make their own serving certificate; what is asked is only whether they are well.
        blind = ssl.create_default_context()
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        return lambda: _answers(ports[component], "/healthz", blind)
    if component == "kwok":
        return lambda: _answers(ports["kwok"], "/healthz", None)
    if component == "operator":
        return lambda: _answers(ports["operator"], "/readyz", None)
    return lambda: True


def _context(layout: Layout, authority: str, client: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(layout.pki / f"{authority}.crt"))
    context.load_cert_chain(layout.pki / f"{client}.crt", layout.pki / f"{client}.key")
    return context


def _answers(port: int, path: str, context: ssl.SSLContext | None) -> bool:
    connection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=_REQUEST_SECONDS)
        if context is None
        else http.client.HTTPSConnection("127.0.0.1", port, timeout=_REQUEST_SECONDS, context=context)
    )
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
