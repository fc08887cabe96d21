"""Answers HTTP requests under the agent: how long each took, whether it serves, its cache dropped when asked.

python serve.py [PORT]
"""

import hashlib
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import quorate_mission

cache = {}
mission = quorate_mission.connect()


def free(directive: quorate_mission.Directive) -> str:
    """Forget what can be computed again."""
    dropped = len(cache)
    cache.clear()
    return f"{dropped} answers dropped"


class Handler(BaseHTTPRequestHandler):
    """The digest of the path, a thousand times."""

    def do_GET(self) -> None:
        """Answer, and report how long it took."""
        with mission.timed():
            answer = cache.get(self.path)
            if answer is None:
                answer = self.path.encode()
                for _ in range(1000):
                    answer = hashlib.sha256(answer).digest()
                cache[self.path] = answer
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.hex().encode() + b"\n")

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


def main(port: int) -> None:
    """Serve; once a second say so and do what was asked."""
    mission.on("FreeMemory", free)
    mission.on("CheckpointAndAbort", lambda directive: "nothing to save")
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"serving on port {server.server_port}", flush=True)
    while not mission.aborting:
        mission.up()
        mission.obey()
        time.sleep(1)
    server.shutdown()
    print("ended, as asked")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 8000)
