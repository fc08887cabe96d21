"""`quorate demo`: the whole story on a sandbox, step by step; every command is shown, run, and its outcome checked."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from quorate_cli.demo.chapters import CHAPTERS, look_around
from quorate_cli.demo.scene import Scene, find_examples
from quorate_cli.demo.stage import Stage
from quorate_cli.sandbox.instance import Sandbox

app = typer.Typer()
SANDBOX = "demo"


@app.command()
def demo(
    name: Annotated[
        str, typer.Option("--name", "-n", help="Name of the sandbox; one that runs is replaced.")
    ] = SANDBOX,
    folder: Annotated[
        Path | None, typer.Option("--dir", "-d", help="Empty folder for keys and documents; else a temporary one.")
    ] = None,
    down: Annotated[bool, typer.Option("--down", help="Take the sandbox down at the end.")] = False,
) -> None:
    """Tell the whole story on a real API server and a real Postgres; ends with an error if a step does not come out."""
    place = (folder or Path(tempfile.mkdtemp(prefix="quorate-demo-"))).resolve()
    shutil.copytree(find_examples(), place, dirs_exist_ok=True)
    sandbox = Sandbox(name)
    stage = Stage(place)
    with stage.doing(f"taking an earlier sandbox {name!r} down"):
        sandbox.down()
    scene = Scene(stage, sandbox, place)
    try:
        for number, (title, chapter) in enumerate(CHAPTERS, start=1):
            stage.chapter(number, title)
            chapter(scene)
        look_around(scene)
    except KeyboardInterrupt:
        stage.say(f"Interrupted. What runs is taken down with: quorate sandbox down --name {name}")
        raise typer.Exit(130) from None
    finally:
        if down:
            sandbox.down()
