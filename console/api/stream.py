"""`GET /api/v1/stream`: what changes, as server-sent events.

Events: `incident`, `session`, `audit`, `store`, `beat` (heartbeat with the server's time), `resync`
(read everything again). Last-Event-ID resumes from the ring; without it the stream begins now.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.sse import EventSourceResponse

from console.context import Console
from console.live.hub import Data
from console.problems import Problem


def routes(console: Console) -> APIRouter:
    """One stream per tab."""
    router = APIRouter(tags=["stream"])

    def beat() -> Data:
        return {"now_s": console.deps.clock.now_s(), "store_ok": console.watcher.store_ok}

    async def follow(reader: str, last_event_id: str | None) -> AsyncIterator[bytes]:
        with console.streams.held(reader):
            async for wire in console.hub.follow(last_event_id, beat):
                yield wire

    @router.get("/stream", response_class=Response)
    async def stream(
        request: Request, last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """Follow changes."""
        known = console.operators.who(request)
        address = request.client.host if request.client else ""
        reader = f"name {known.name}" if known else f"address {address}"
        if not console.streams.free(reader):
            problem = Problem(503, "too_many_streams", "Too many live streams are open.")
            problem.headers["retry-after"] = "10"
            raise problem
        # Returned, not declared as the route's class: the hub encodes once for all readers itself.
        return EventSourceResponse(
            follow(reader, last_event_id), headers={"x-accel-buffering": "no"}
        )

    return router
