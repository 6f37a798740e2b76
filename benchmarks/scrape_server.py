"""The other side of the scraping benchmark: thousands of exporters in one cheap process.

Run by `benchmarks.scrape` as `python -m benchmarks.scrape_server PORT_FILE RESULT`; a page is
`/<kind>/<number>`. It serves prepared pages and notes when each was asked for, which makes it the
independent witness of who kept the schedule. On SIGTERM it writes what it noted to RESULT.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from benchmarks.scrape_pages import NODE, versions

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n"


class Exporters:
    """All targets."""

    def __init__(self) -> None:
        self._pages = {kind: versions(kind) for kind in ("engine", "gpu", "node")}
        self.asked: dict[str, list[float]] = {}
        """When each page was asked for."""
        self.bytes = 0

    def page(self, path: str) -> bytes:
        """The next page of a target."""
        kind, _, number = path.strip("/").partition("/")
        moments = self.asked.setdefault(path, [])
        moments.append(time.monotonic())
        of_kind = self._pages[kind]
        body = of_kind[len(moments) % len(of_kind)]
        body = body.replace(NODE.encode(), f"n-{number:0>6}".encode())
        self.bytes += len(body)
        return HEAD % len(body) + body


class Connection(asyncio.Protocol):
    """One connection of the collector."""

    def __init__(self, exporters: Exporters) -> None:
        self._exporters = exporters
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Requests may come."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A request, which is short enough to come whole."""
        if self._transport is not None:
            self._transport.write(self._exporters.page(data.split(b" ", 2)[1].decode()))


async def serve(port_file: Path, result: Path) -> None:
    """Serve until SIGTERM."""
    exporters, loop, over = Exporters(), asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(lambda: Connection(exporters), "127.0.0.1", 0, backlog=4096)
    port_file.write_text(str(server.sockets[0].getsockname()[1]))
    await over.wait()
    server.close()
    document = {"bytes": exporters.bytes, "asked": exporters.asked}
    result.write_text(json.dumps(document))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
