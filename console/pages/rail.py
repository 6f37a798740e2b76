"""The rail beside every page, by itself: its counts follow the live stream."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from console.context import Console

PATH_CHARS_MAX = 200


def routes(console: Console) -> APIRouter:
    """`/rail`; `at` is the path of the page that it stands beside."""
    router = APIRouter(include_in_schema=False)

    @router.get("/rail")
    def rail(request: Request, at: str = "") -> HTMLResponse:
        return console.pages.page(request, "parts/rail.html", at=at[:PATH_CHARS_MAX])

    return router
