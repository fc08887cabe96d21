"""/healthz, /readyz and /metrics from a thread of their own: they answer also when the loop hangs."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class Probes:
    """Serves until `close`.

    Args:
        problems: what is wrong with the process, by path: `/healthz` (it should be restarted), `/readyz`.

    Raises:
        OSError: the address is in use or not ours.
    """

    def __init__(
        self,
        address: tuple[str, int],
        registry: CollectorRegistry,
        problems: Callable[[str], list[str]],
    ) -> None:
        self._server = ThreadingHTTPServer(address, _handler(registry, problems))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()

    @property
    def port(self) -> int:
        """The port that is listened on (of use when 0 was asked for)."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _handler(registry: CollectorRegistry, problems: Callable[[str], list[str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif self.path in ("/healthz", "/readyz"):
                found = problems(self.path)
                self._answer(503 if found else 200, ("\n".join(found) or "ok").encode() + b"\n", "text/plain")
            else:
                self._answer(404, b"not found\n", "text/plain")

        def _answer(self, status: int, body: bytes, media: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
            """Probes are not worth a log line each."""

    return Handler
