"""What goes wrong on a request, as one kind of answer: RFC 9457 problem+json for the API, a page
for people.

Handlers raise `Problem` or let the house's own errors through; `install` maps both. The answer
never holds a stack trace or the text of a foreign error.
"""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from fleetmend.errors import (
    ActionRefused,
    BadInput,
    FleetError,
    PortError,
    PortRefused,
    StoreConflict,
    StoreError,
)

PROBLEM_JSON = "application/problem+json"
_TITLES = {
    400: "Bad request", 401: "Log in first", 403: "Not allowed", 404: "Not found",
    405: "Method not allowed", 409: "Somebody was first", 412: "The plan has changed",
    413: "Too large", 415: "Unsupported media type", 421: "Wrong host", 422: "Not usable",
    428: "Name the version you saw", 429: "Too many requests", 500: "Internal error",
    502: "The other side failed", 503: "Not available now",
}  # fmt: skip

PageMaker = Callable[[Request, "Problem"], Response]


class Problem(Exception):
    """An answer other than success. `code` is a stable word for programs."""

    def __init__(
        self, status: int, code: str, detail: str, **extra: str | int | float | None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.extra = extra
        self.headers: dict[str, str] = {}

    @property
    def title(self) -> str:
        """The heading of this status."""
        return _TITLES.get(self.status, "Request failed")

    def body(self) -> dict[str, str | int | float | None]:
        """The members of the problem document."""
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.extra,
        }


def from_fleet(error: FleetError) -> Problem:
    """The problem that an error of the house means."""
    match error:
        case StoreConflict():
            return Problem(409, "conflict", error.what)
        case ActionRefused():
            return Problem(409, "refused", error.reason, guard=error.guard)
        case BadInput() | PortRefused():
            return Problem(422, "unusable", error.what)
        case StoreError():
            return Problem(503, "store_unavailable", "The store cannot be reached. Try again.")
        case PortError():
            return Problem(502, "port_failed", error.what)
        case _:
            return Problem(500, "internal", "This was not expected. The log has more.")


def problem_json(problem: Problem) -> JSONResponse:
    """The problem as a program reads it."""
    return JSONResponse(
        problem.body(), problem.status, headers=problem.headers, media_type=PROBLEM_JSON
    )


def install(app: FastAPI, page: PageMaker) -> None:
    """Answer every failure by problem+json under /api, by `page` elsewhere."""

    def answer(request: Request, problem: Problem) -> Response:
        return problem_json(problem) if wants_json(request) else page(request, problem)

    def handler(
        convert: Callable[[Exception], Problem],
    ) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            return answer(request, convert(error))

        return handle

    app.add_exception_handler(Problem, handler(_as_is))
    app.add_exception_handler(FleetError, handler(_house))
    app.add_exception_handler(HTTPException, handler(_http))
    app.add_exception_handler(RequestValidationError, handler(_invalid))
    app.add_exception_handler(Exception, handler(_unexpected))


def wants_json(request: Request) -> bool:
    """Under /api answers are for programs."""
    return request.url.path.startswith("/api/")


def _as_is(error: Exception) -> Problem:
    assert isinstance(error, Problem)  # noqa: S101 -- registered for this class alone
    return error


def _house(error: Exception) -> Problem:
    assert isinstance(error, FleetError)  # noqa: S101 -- registered for this class alone
    return from_fleet(error)


def _http(error: Exception) -> Problem:
    assert isinstance(error, HTTPException)  # noqa: S101 -- registered for this class alone
    problem = Problem(error.status_code, "http", str(error.detail))
    problem.headers.update(error.headers or {})
    return problem


def _invalid(error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- registered for this class alone
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return Problem(422, "unusable", f"{where}: {first['msg']}")


def _unexpected(error: Exception) -> Problem:
    return Problem(500, "internal", "This was not expected. The log has more.")
