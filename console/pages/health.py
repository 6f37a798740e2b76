"""The console's own health: `/healthz` (the process), `/readyz` (what it needs), `/metrics`."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from console.assets import Assets
from console.context import Console
from fleetmend.errors import StoreError


def routes(console: Console, assets: Assets) -> APIRouter:
    """For probes and Prometheus: no login, nothing about the fleet but figures."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    def healthz() -> JSONResponse:
        return JSONResponse({"ok": True})

    @router.get("/readyz")
    def readyz() -> JSONResponse:
        needed = {"store": _store_ready(console), "services": not console.deps.unready()}
        checks = {**needed, "assets": assets.built}
        answer = {"ok": all(checks.values()), **checks}
        return JSONResponse(answer, 200 if all(needed.values()) else 503)

    @router.get("/metrics")
    def metrics() -> Response:
        body = generate_latest(console.deps.registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    return router


def _store_ready(console: Console) -> bool:
    try:
        return console.deps.store.at_head()
    except StoreError:
        return False
