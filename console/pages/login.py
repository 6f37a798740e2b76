"""Log in with a token, log out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from console.auth import COOKIE, NAME_CHARS_MAX
from console.context import Console


def routes(console: Console) -> APIRouter:
    """`/login`, `/logout`."""
    router = APIRouter(include_in_schema=False)
    settings = console.deps.settings

    def form(request: Request, next_: str, name: str, *, failed: bool) -> Response:
        return console.pages.page(
            request,
            "login.html",
            status=401 if failed else 200,
            next=next_,
            name=name[:NAME_CHARS_MAX],
            failed=failed,
            login_s=settings.login_s,
            own_tokens=bool(settings.people),
        )

    @router.get("/login")
    def show(request: Request, next: str = "/incidents") -> Response:
        return form(request, local_path(next), "", failed=False)

    @router.post("/login")
    def login(
        request: Request,
        token: Annotated[str, Form()],
        name: Annotated[str, Form()] = "",
        next: Annotated[str, Form()] = "/incidents",
    ) -> Response:
        cookie = console.operators.login(name, token)
        console.metrics.logins.labels("failed" if cookie is None else "ok").inc()
        if cookie is None:
            console.wrong_token(request)
            return form(request, local_path(next), name, failed=True)
        response = RedirectResponse(local_path(next), 303)
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=int(settings.login_s),
            httponly=True,
            samesite="strict",
            secure=settings.secure_cookie,
        )
        return response

    @router.post("/logout")
    def logout() -> Response:
        response = RedirectResponse("/incidents", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    return router


def local_path(address: str) -> str:
    """`address` when it is a path of this console, else the list: a login never leads elsewhere."""
    plain = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if plain and address.isprintable() else "/incidents"
