"""A way to the API server on which the watches of one resource lag behind; everything else passes at once."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from urllib.parse import urlsplit

from quorate_operator.kube.connection import from_file

_CHUNK = 65_536


class LaggingServer:
    """Plain HTTP on 127.0.0.1 to the API server of a kubeconfig, with that file's client certificate.

    While `hold` is set, answers to `GET …/<resource>?watch` are kept back.
    """

    def __init__(self, kubeconfig: Path, resource: str) -> None:
        self._connection = from_file(kubeconfig)
        self._target, self._resource = urlsplit(self._connection.server), f"/{resource}?".encode()
        self._context = self._connection.ssl_context()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.passing = threading.Event()
        self.passing.set()
        self.lagged = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def kubeconfig(self, path: Path) -> Path:
        """A kubeconfig that leads here; the certificate is this server's affair."""
        server = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        path.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: lagging\n"
            f"clusters: [{{name: lagging, cluster: {{server: '{server}'}}}}]\n"
            "users: [{name: lagging, user: {}}]\n"
            "contexts: [{name: lagging, context: {cluster: lagging, user: lagging}}]\n"
        )
        return path

    def close(self) -> None:
        """Take no more connections, and let what is kept back go."""
        self._listener.close()
        self.passing.set()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), client:
            request = _request(client)
            line = request.partition(b"\r\n")[0]
            lags = line.startswith(b"GET ") and self._resource in line and b"watch=" in line
            place = (self._target.hostname or "", self._target.port or 443)
            with (
                socket.create_connection(place) as plain,
                self._context.wrap_socket(plain, server_hostname=place[0]) as upstream,
            ):
                # One request per connection, so that the answer ends where the connection does.
                upstream.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                self._answer(client, upstream, lags=lags)

    def _answer(self, client: socket.socket, upstream: ssl.SSLSocket, *, lags: bool) -> None:
        while received := upstream.recv(_CHUNK):
            if lags and not self.passing.is_set():
                self.lagged.set()
                self.passing.wait()
            client.sendall(received)


def _request(client: socket.socket) -> bytes:
    """One whole request, by its Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(client)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0:
        received = _some(client)
        data, missing = data + received, missing - len(received)
    return data


def _some(client: socket.socket) -> bytes:
    received = client.recv(_CHUNK)
    if not received:
        raise ConnectionResetError("the client went away")
    return received
