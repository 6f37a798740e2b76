"""One request to an engine's OpenAI-compatible API, within a time and a size.

`collectors.probe.collector` runs it as a task. What goes wrong is an outcome, never an exception. A
connection is never used twice: one that the server closed in between would look like a fault.
"""

import asyncio
import math
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import httpx
from pydantic import BaseModel, ValidationError

from fleetmend.clock import Clock
from fleetmend.settings.probe import ReplicaSettings

_TOKEN_BYTES_MAX = 8192
_NAME_MAX = 200
_HTTP_OK = 200
_HTTP_UNAVAILABLE = 500


class Outcome(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """Nobody listens."""
    UNREACHABLE = "unreachable"
    """No name, no route, a broken connection, a certificate that does not hold."""
    TIMEOUT = "timeout"
    REDIRECT = "redirect"
    """Not followed, and no word about the engine."""
    STATUS = "status"
    """Another HTTP status than 200."""
    OVERSIZE = "oversize"
    UNREADABLE = "unreadable"
    """HTTP 200 with a body that is no completion."""
    NO_TOKEN = "no_token"  # noqa: S105  an outcome, no secret
    """A completion without a token."""
    NO_CREDENTIAL = "no_credential"
    """The file of the bearer token cannot be read: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked."""

    prompt: str
    tokens: int
    golden: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, or why there is none."""

    outcome: Outcome
    status: int = 0
    """HTTP status; 0 when there was none."""
    duration_s: float = 0.0
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    """One for each token; NaN where the engine gave none."""
    build: str = ""
    """Model and version as the engine names them, of golden prompts alone."""

    @property
    def word(self) -> str:
        """The outcome as events tell it: `answered`, `timeout`, `http_503`."""
        return f"http_{self.status}" if self.outcome is Outcome.STATUS else self.outcome.value

    @property
    def ok(self) -> bool | None:
        """Whether the engine serves; None where the answer says nothing about it: a wrong name, a
        wrong credential, a proxy that sends elsewhere."""
        if self.outcome in (Outcome.REDIRECT, Outcome.NO_CREDENTIAL):
            return None
        if self.outcome is Outcome.STATUS and self.status < _HTTP_UNAVAILABLE:
            return None
        return self.outcome is Outcome.ANSWERED


class _Logprobs(BaseModel):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []


class _Choice(BaseModel):
    text: str = ""
    logprobs: _Logprobs | None = None


class _Usage(BaseModel):
    completion_tokens: int = 0


class _Completion(BaseModel):
    choices: list[_Choice]
    model: str = ""
    system_fingerprint: str | None = None
    usage: _Usage | None = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class _Refusal(Exception):
    """Carries an outcome out of a request."""

    def __init__(self, outcome: Outcome, status: int = 0) -> None:
        super().__init__(outcome.value)
        self.outcome, self.status = outcome, status


def open_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client for all replicas. No proxies or credentials from the environment: a replica is where
    the settings say."""
    return httpx.AsyncClient(
        transport=transport,
        follow_redirects=False,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"User-Agent": "fleetmend", "Accept-Encoding": "identity"},
        timeout=None,  # noqa: S113  `ask` bounds the whole, which httpx cannot
    )


class Asker:
    """Asks one replica; one request at a time."""

    def __init__(self, replica: ReplicaSettings, clock: Clock, *, body_bytes_max: int) -> None:
        self._replica = replica
        self._clock = clock
        self._body_bytes_max = body_bytes_max
        self._url = replica.url.rstrip("/")
        self._model = replica.model

    async def ask(self, client: httpx.AsyncClient, ask: Ask) -> Answer:
        """The answer, or what came of the request, after at most the replica's time-out."""
        begin_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(self._replica.timeout_s):
                answer = await self._ask(client, ask)
        except TimeoutError:
            answer = Answer(Outcome.TIMEOUT)
        except _Refusal as refusal:
            answer = Answer(refusal.outcome, refusal.status)
        except httpx.ConnectError as error:
            answer = Answer(Outcome.REFUSED if _refused(error) else Outcome.UNREACHABLE)
        except (httpx.HTTPError, httpx.InvalidURL):
            answer = Answer(Outcome.UNREACHABLE)
        if answer.outcome is Outcome.STATUS and not self._replica.model:
            self._model = ""  # it may have been given another since
        return replace(answer, duration_s=self._clock.monotonic_s() - begin_s)

    async def _ask(self, client: httpx.AsyncClient, ask: Ask) -> Answer:
        headers = await self._headers()
        if not self._model:
            listed = await self._get(client, "/v1/models", headers)
            self._model = _first_model(listed)
        version = await self._version(client, headers) if ask.golden else ""
        body = {
            "model": self._model,
            "prompt": ask.prompt,
            "max_tokens": ask.tokens,
            "temperature": 0,
            "logprobs": 1,
        }
        if self._replica.priority:
            body["priority"] = self._replica.priority
        url = f"{self._url}/v1/completions"
        async with client.stream("POST", url, json=body, headers=headers) as response:
            content = await self._content(response)
        return _read(content, version)

    async def _version(self, client: httpx.AsyncClient, headers: dict[str, str]) -> str:
        """What `/version` says (vLLM); engines without it have none."""
        try:
            said = await self._get(client, "/version", headers)
        except _Refusal as refusal:
            if refusal.outcome is Outcome.STATUS and refusal.status < _HTTP_UNAVAILABLE:
                return ""
            raise
        return said[:_NAME_MAX].decode("utf-8", "replace")

    async def _get(self, client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> bytes:
        async with client.stream("GET", self._url + path, headers=headers) as response:
            return await self._content(response)

    async def _headers(self) -> dict[str, str]:
        if not self._replica.token_file:
            return {}
        path = Path(self._replica.token_file)
        try:
            token = (await asyncio.to_thread(_head_of, path)).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _Refusal(Outcome.NO_CREDENTIAL) from error
        if not token or not token.isprintable():
            raise _Refusal(Outcome.NO_CREDENTIAL)
        return {"Authorization": f"Bearer {token}"}

    async def _content(self, response: httpx.Response) -> bytes:
        if response.is_redirect:
            raise _Refusal(Outcome.REDIRECT, response.status_code)
        if response.status_code != _HTTP_OK:
            raise _Refusal(Outcome.STATUS, response.status_code)
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > self._body_bytes_max:
                raise _Refusal(Outcome.OVERSIZE, _HTTP_OK)
        return bytes(content)


def _refused(error: BaseException) -> bool:
    """Whether some cause of an error is that nobody listens; the client words it in many ways."""
    causes = [error.__cause__, error.__context__]
    if isinstance(error, BaseExceptionGroup):
        causes += error.exceptions
    return isinstance(error, ConnectionRefusedError) or any(
        _refused(cause) for cause in causes if cause is not None
    )


def _head_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_TOKEN_BYTES_MAX)


def _first_model(content: bytes) -> str:
    try:
        listed = _Models.model_validate_json(content)
    except ValidationError as error:
        raise _Refusal(Outcome.UNREADABLE, _HTTP_OK) from error
    if not listed.data:
        raise _Refusal(Outcome.UNREADABLE, _HTTP_OK)
    return listed.data[0].id[:_NAME_MAX]


def _read(content: bytes, version: str) -> Answer:
    try:
        said = _Completion.model_validate_json(content)
    except ValidationError as error:
        raise _Refusal(Outcome.UNREADABLE, _HTTP_OK) from error
    choice = said.choices[0] if said.choices else _Choice()
    given = choice.logprobs or _Logprobs()
    counted = said.usage is not None and said.usage.completion_tokens > 0
    if not (choice.text or given.tokens or counted):
        raise _Refusal(Outcome.NO_TOKEN, _HTTP_OK)
    found = [math.nan if value is None else value for value in given.token_logprobs]
    found += [math.nan] * (len(given.tokens) - len(found))
    names = (said.model, version, said.system_fingerprint or "")
    return Answer(
        Outcome.ANSWERED,
        _HTTP_OK,
        tokens=tuple(given.tokens),
        logprobs=tuple(found[: len(given.tokens)]),
        build=" ".join(name[:_NAME_MAX] for name in names if name),
    )
