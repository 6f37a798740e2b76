"""PostgreSQL from Debian's package, on loopback, as the package's own user."""

import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from deploy.parts.process import Daemon, free_port

BIN = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"


class PostgresServer:
    """A server with data under `folder`, which must be reachable for the user `postgres`."""

    def __init__(
        self, folder: Path, *, durable: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        """`durable`: commits wait for the disk. `settings`: more of the server's own."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self._data = folder / "data"
        self.port = free_port()
        self._data.mkdir()
        shutil.chown(self._data, USER, USER)
        initdb: list[str | Path] = [
            BIN / "initdb",
            "-D",
            self._data,
            "-A",
            "trust",
            "-U",
            "fleetmend",
        ]
        subprocess.run(
            [*initdb, "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd="/",
            user=USER,
            group=USER,
        )
        options = ["-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-k", ""]
        options += [] if durable else ["-c", "fsync=off"]
        for name, value in (settings or {}).items():
            options += ["-c", f"{name}={value}"]
        self.daemon = Daemon(
            [BIN / "postgres", "-D", self._data, *options],
            log=folder / "server.log",
            cwd=Path("/"),
            user=USER,
            stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
        )
        self.await_ready()

    def await_ready(self) -> None:
        """Wait until the server answers a query."""
        self.daemon.await_ready(lambda: self._psql("SELECT 1"), timeout_s=60)

    def _psql(self, statement: str, database: str = "postgres") -> bool:
        client = [
            "psql",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "fleetmend",
            "-d",
            database,
        ]
        done = subprocess.run([*client, "-qtAc", statement], capture_output=True, timeout=30)
        return done.returncode == 0

    def new_database(self) -> str:
        """A fresh, empty database; the URL that the store takes."""
        name = f"t{uuid.uuid4().hex[:12]}"
        if not self._psql(f"CREATE DATABASE {name}"):
            raise RuntimeError(f"could not create database {name}\n{self.daemon.tail()}")
        return f"postgresql+psycopg://fleetmend@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """Stop in good order."""
        self.daemon.stop()
