"""The console as a server in a thread of its own: what the composition root starts and stops.

uvicorn on one loopback port. Live streams are ended before the server waits for its requests, so
that stopping takes no longer than a page.
"""

import threading

import uvicorn
from fastapi import FastAPI

from console.app import create_app
from console.deps import ConsoleDeps
from fleetmend.errors import PortError

START_S_MAX = 30.0
STOP_S_MAX = 10.0


class ConsoleServer:
    """`start` returns when the console answers; `stop` when it no longer does."""

    def __init__(self, deps: ConsoleDeps) -> None:
        self.app: FastAPI = create_app(deps)
        self._host = deps.settings.host
        self._started = threading.Event()
        self._server = _Server(
            uvicorn.Config(
                self.app,
                host=deps.settings.host,
                port=deps.settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # else a local client names any address as its own
                timeout_graceful_shutdown=3,
            ),
            self._started,
        )
        self._thread = threading.Thread(target=self._server.run, name="console", daemon=True)

    def start(self) -> str:
        """The console's address, once it answers. Raises PortError when it cannot listen."""
        self._thread.start()
        self._started.wait(START_S_MAX)
        if not self._server.started:
            raise PortError(
                "the console cannot listen", where=self._host, fix="Is console.port in use?"
            )
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://{self._host}:{port}"

    def stop(self) -> None:
        """End all streams, then the server."""
        self._server.should_exit = True
        self._thread.join(STOP_S_MAX)


class _Server(uvicorn.Server):
    """Says when it has started (or failed to), and ends live streams before it shuts down."""

    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self._said = started

    def run(self, sockets: object = None) -> None:
        """Run until stopped; a failed start ends it too."""
        try:
            super().run()
        except SystemExit:  # uvicorn's way to say that the port is taken
            return
        finally:
            self._said.set()

    async def startup(self, sockets: object = None) -> None:
        """Listen, then say so."""
        await super().startup()
        self._said.set()

    async def shutdown(self, sockets: object = None) -> None:
        """Streams first."""
        app = self.config.app
        assert isinstance(app, FastAPI)  # noqa: S101 -- given so by ConsoleServer
        app.state.console.hub.close()
        await super().shutdown()
