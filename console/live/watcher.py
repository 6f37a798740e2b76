"""The one task behind the live stream: look at the store, publish what is new, walk the chain.

Started and ended with the application. A store that cannot be reached is said once and tried again.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from console.live.chain import ChainWatch
from console.live.changes import Changes
from console.live.hub import Hub
from fleetmend.errors import StoreError

logger = logging.getLogger(__name__)


class Watcher:
    """Owns nothing but the loop; `store_ok` is what /readyz and the top bar show."""

    def __init__(self, *, hub: Hub, changes: Changes, chain: ChainWatch, poll_s: float) -> None:
        self._hub = hub
        self._changes = changes
        self._chain = chain
        self._poll_s = poll_s
        self.store_ok = True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The task lives as long as the block."""
        task = asyncio.create_task(self._run(), name="console-watcher")
        try:
            yield
        finally:
            self._hub.close()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except StoreError as error:
                if self.store_ok:
                    logger.warning("store cannot be read", extra={"error": error.what})
                self._say(ok=False)
            await asyncio.sleep(self._poll_s)

    async def look(self) -> None:
        """One look. Raises StoreError."""
        for change in await run_in_threadpool(self._changes.look):
            self._hub.publish(change.kind, change.data)
        await run_in_threadpool(self._chain.step)
        self._say(ok=True)

    def _say(self, *, ok: bool) -> None:
        if ok != self.store_ok:
            self.store_ok = ok
            self._hub.publish("store", {"ok": ok})
