"""`GET /api/v1/stream`: what changes, as server-sent events.

Events: `incident`, `session`, `audit`, `store`, `beat` (heartbeat with the server's time), `resync`
(read everything again). Last-Event-ID resumes from the ring; without it the stream begins now.
"""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.sse import EventSourceResponse

from console.context import Console
from console.live.hub import Data
from console.problems import Problem


def routes(console: Console) -> APIRouter:
    """One stream per tab."""
    router = APIRouter(tags=["stream"])

    def beat() -> Data:
        return {"now_s": console.deps.clock.now_s(), "store_ok": console.watcher.store_ok}

    @router.get("/stream", response_class=Response)
    async def stream(last_event_id: Annotated[str | None, Header()] = None) -> Response:
        """Follow changes."""
        if console.hub.readers >= console.deps.settings.stream_readers_max:
            problem = Problem(503, "too_many_streams", "Too many live streams are open.")
            problem.headers["retry-after"] = "10"
            raise problem
        # Returned, not declared as the route's class: the hub encodes once for all readers itself.
        return EventSourceResponse(
            console.hub.follow(last_event_id, beat), headers={"x-accel-buffering": "no"}
        )

    return router
