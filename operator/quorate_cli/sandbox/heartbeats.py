"""Sends the signed heartbeats of the sandbox's example nodes.

`python -m quorate_cli.sandbox.heartbeats DIRECTORY KUBECONFIG`: each `DIRECTORY/*.json` is
`{"node": MeshNode name, "domain": TrustDomain name, "key": path of the Machine key, "every": seconds}` (`every` is 10
if absent). Files may come, change and go while it runs. It runs under the supervisor, which starts it again.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quorate_cli.heartbeat import beat_with_key_file
from quorate_cli.output import CliError

_EVERY_SECONDS = 10.0
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.5


def run(directory: Path, send: Callable[[dict[str, Any]], object], now: float, due: dict[Path, float]) -> None:
    """One round: send what is due at `now` (monotonic seconds) and note in `due` when each is next."""
    for file in sorted(directory.glob("*.json")):
        if due.get(file, 0.0) > now:
            continue
        try:
            entry = json.loads(file.read_text())
            send(entry)
            due[file] = now + float(entry.get("every", _EVERY_SECONDS))
        except (CliError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # No challenge yet, API server away, file half written: all pass, so the next round tries again.
            print(f"{file.name}: {error}", flush=True)
            due[file] = now + _RETRY_SECONDS
    for gone in [file for file in due if not file.exists()]:
        del due[gone]


def main(directory: Path, kubeconfig: Path) -> None:
    """Until killed."""
    due: dict[Path, float] = {}

    def send(entry: dict[str, Any]) -> None:
        beat_with_key_file(kubeconfig, node=entry["node"], domain=entry["domain"], key=Path(entry["key"]))

    while True:
        run(directory, send, time.monotonic(), due)
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
