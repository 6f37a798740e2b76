"""The console: one FastAPI application made from what it is given.

Called by the composition root and by `console.server`. Reading anything else than its dependencies
(environment, clock, files besides its own assets and the token) must not happen here.
"""

import contextlib
from collections.abc import AsyncIterator

from fastapi import Depends, FastAPI, Request
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import RedirectResponse, Response

from console import problems
from console.api import audit as audit_api
from console.api import coverage as coverage_api
from console.api import faults as faults_api
from console.api import incidents as incidents_api
from console.api import plans as plans_api
from console.api import stream
from console.assets import Assets, ImmutableFiles, built_assets
from console.auth import Operators
from console.context import Console, Frame
from console.deps import ConsoleDeps
from console.guard import Guard
from console.limits import RateLimit, Slots
from console.live.chain import ChainWatch
from console.live.changes import Changes
from console.live.hub import Hub
from console.live.watcher import Watcher
from console.metrics import Metrics
from console.names import NameBook
from console.pages import audit, decisions, fleet, health, incident, incidents, login, rail
from console.templating import Pages

API = "/api/v1"


def create_app(deps: ConsoleDeps) -> FastAPI:
    """The whole console. Raises SettingsError when the operator token cannot be read."""
    assets = built_assets()
    console = _console(deps, assets)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with console.watcher.running():
            yield

    app = FastAPI(
        title="fleetmend",
        version="1",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # the stock documentation pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.console = console
    problems.install(app, _problem_page(console))
    looking = [Depends(console.may_look)]
    for page in (incidents, incident, decisions, fleet, audit, rail):
        app.include_router(page.routes(console), dependencies=looking)
    for api in (incidents_api, plans_api, audit_api, coverage_api, faults_api, stream):
        app.include_router(api.routes(console), prefix=API, dependencies=looking)
    app.include_router(login.routes(console))
    app.include_router(health.routes(console, assets))
    if assets.built:
        app.mount("/static", ImmutableFiles(directory=assets.folder))
    app.add_middleware(GZipMiddleware, minimum_size=1024)  # leaves event streams alone
    app.add_middleware(Guard, settings=deps.settings, answered=console.metrics.answered)
    return app


def _console(deps: ConsoleDeps, assets: Assets) -> Console:
    settings, clock = deps.settings, deps.clock
    operators = Operators(settings, clock)
    hub = Hub(
        epoch=f"{int(clock.now_s() * 1000):x}",
        events_max=settings.stream_events_max,
        heartbeat_s=settings.heartbeat_s,
    )
    chain = ChainWatch(deps.store, clock, recheck_s=settings.audit_recheck_s)
    watcher = Watcher(hub=hub, changes=Changes(deps.store), chain=chain, poll_s=settings.poll_s)
    return Console(
        deps=deps,
        operators=operators,
        pages=Pages(
            assets=assets,
            operators=operators,
            clock=clock,
            frame=Frame(deps),
            names=NameBook(deps.fleet, clock),
            text_max=settings.text_chars_max,
        ),
        hub=hub,
        chain=chain,
        watcher=watcher,
        metrics=Metrics(
            deps.registry,
            readers=lambda: hub.readers,
            store_ok=lambda: watcher.store_ok,
            chain_whole=lambda: chain.state.breach is None,
        ),
        writes=RateLimit(settings.writes_per_min, clock),
        wrong_tokens=RateLimit(settings.logins_per_min, clock),
        streams=Slots(most=settings.stream_readers_max, each=settings.stream_readers_each),
    )


def _problem_page(console: Console) -> problems.PageMaker:
    def page(request: Request, problem: problems.Problem) -> Response:
        if problem.status == 401 and request.method == "GET":
            return RedirectResponse(f"/login?next={request.url.path}", 303)
        return console.pages.page(request, "error.html", status=problem.status, problem=problem)

    return page
