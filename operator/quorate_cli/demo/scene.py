"""Where the story plays: a folder of documents and keys, a sandbox, and the programs on the reader's path."""

import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from quorate_cli.demo.stage import DemoError, Stage
from quorate_cli.sandbox import binaries, postgres
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.yamlfiles import read_documents

_POSTGRES_TOOLS = ("createdb", "pg_dump", "psql")


def find_examples() -> Path:
    """The folder `examples/fleet`: of the checkout, else of the installed package.

    Raises:
        SandboxError: it is in neither.
    """
    package = Path(str(files("quorate_cli")))
    for place in (package.parents[1] / "examples" / "fleet", package / "examples" / "fleet"):
        if (place / "trustdomain.yaml").exists():
            return place
    raise SandboxError("the examples are not installed; run the demo from a checkout: make demo")


class Scene:
    """What the chapters share.

    Attributes:
        nodes: MeshNode name → nodeId, in the order of the manifest.
    """

    def __init__(self, stage: Stage, sandbox: Sandbox, folder: Path) -> None:
        self.stage = stage
        self.sandbox = sandbox
        self.folder = folder
        documents = read_documents([str(folder / "meshnodes.yaml")])
        self.nodes = {document["metadata"]["name"]: document["spec"]["nodeId"] for document in documents}

    def put_programs_on_path(self) -> Path:
        """`bin/` in the folder with quorate, kubectl and Postgres's tools, first on the path; the folder."""
        place = self.folder / "bin"
        place.mkdir(exist_ok=True)
        script = place / "quorate"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m quorate_cli "$@"\n')
        script.chmod(0o755)
        programs = binaries.find(["kubectl"], say=lambda line: self.stage.say(f"{line} …"))
        programs |= {name: postgres.binaries() / name for name in _POSTGRES_TOOLS}
        for name, target in programs.items():
            (place / name).unlink(missing_ok=True)
            (place / name).symlink_to(target)
        self.stage.use({"PATH": f"{place}:{self.stage.environment.get('PATH', '')}"})
        return place

    def use_sandbox(self) -> None:
        """Cluster and database of the sandbox become those of every later command."""
        values = {
            "KUBECONFIG": str(self.sandbox.kubeconfig),
            "PGHOST": str(self.sandbox.layout.run),
            "PGUSER": postgres.SUPERUSER,
        }
        self.stage.use(values)
        self.stage.export({name: self.short(value) for name, value in values.items()})

    def give_log_key(self, file: str) -> None:
        """The operator signs the log's checkpoints with this key."""
        shutil.copy(self.folder / file, self.sandbox.log_keys / Path(file).name)

    def start_heartbeats(self, domain: str) -> None:
        """The sandbox sends the signed heartbeats of the nodes from now on."""
        for node in self.nodes:
            entry = {"node": node, "domain": domain, "key": str(self.folder / "keys" / f"{node}.key")}
            (self.sandbox.heartbeats / f"{node}.json").write_text(json.dumps(entry))

    @staticmethod
    def short(path: str | Path) -> str:
        """A path with `~` for the home directory."""
        home, text = str(Path.home()), str(path)
        return "~" + text.removeprefix(home) if text.startswith(home + "/") else text

    def check_tally(self, proposal: str, **numbers: int) -> None:
        """Each of these numbers is in the proposal's status.

        Raises:
            DemoError: one has another value.
        """
        shown = json.loads(self.stage.quiet(f"kubectl get gp {proposal} -o jsonpath='{{.status.tally}}'"))
        for name, expected in numbers.items():
            if shown.get(name) != expected:
                raise DemoError(f"the tally of {proposal} should show {name} {expected}, it shows {shown.get(name)}")

    def check_counted(self, vote: str, reason: str) -> None:
        """The vote's condition Counted is False for this reason.

        Raises:
            DemoError: it is not.
        """
        path = '{.status.conditions[?(@.type=="Counted")]}'
        condition = json.loads(self.stage.quiet(f"kubectl get vt {vote} -o jsonpath='{path}'") or "{}")
        if (condition.get("status"), condition.get("reason")) != ("False", reason):
            raise DemoError(f"Vote {vote} should not count with reason {reason}; it has {condition or 'no condition'}")

    def checkpoint_name(self, chain: str) -> str:
        """The AuditCheckpoint of a chain.

        Raises:
            DemoError: there is none.
        """
        items = json.loads(self.stage.quiet("kubectl get ac -o json"))["items"]
        found = [item["metadata"]["name"] for item in items if item["spec"]["chain"] == chain]
        if not found:
            raise DemoError(f"there is no AuditCheckpoint of chain {chain}")
        return str(found[0])

    def sequence_of_vote(self, key_name: str) -> int:
        """The place in the log of the accepted vote of a key.

        Raises:
            DemoError: there is none.
        """
        rows = json.loads(self.stage.quiet("quorate audit log --type governance.vote.accepted -o json"))
        found = [
            row["sequence"] for row in rows if row["entry"]["payload"]["detail"]["statement"]["keyName"] == key_name
        ]
        if not found:
            raise DemoError(f"the log holds no accepted vote of {key_name}")
        return int(found[0])
