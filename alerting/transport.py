"""Posting bytes over HTTP, and nothing more. Used by the channels; formats are theirs.

No redirects, no proxies from the environment, a checked address, an answer of bounded size within a
bounded time.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import httpx

from alerting.guard import Networks, Resolve, choose_address
from fleetmend.clock import Clock
from fleetmend.errors import PortError, PortRefused, SettingsError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered."""

    status: int
    retry_after: str
    """The header as it came, or empty."""
    body: bytes


class MalformedAnswer(PortError):
    """Something answered, but not HTTP or not what the format says; `answer` holds what is known of
    it."""

    def __init__(self, what: str, answer: bytes) -> None:
        super().__init__(what)
        self.answer = answer


class Poster(Protocol):
    """One attempt to hand bytes over."""

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Whatever was answered. Raises PortError (no answer, try again), MalformedAnswer,
        PortRefused (must not be posted to)."""
        ...


class HttpPoster:
    """The real one."""

    def __init__(
        self,
        *,
        clock: Clock,
        resolve: Resolve,
        networks: Networks,
        timeout_s: float,
        answer_bytes_max: int,
        ca_file: str = "",
    ) -> None:
        """Raises SettingsError when `ca_file` is named and cannot be used."""
        self._clock = clock
        self._resolve = resolve
        self._networks = networks
        self._timeout_s = timeout_s
        self._answer_bytes_max = answer_bytes_max
        try:
            if ca_file:
                self._tls = ssl.create_default_context(cafile=ca_file)
            else:
                self._tls = httpx.create_ssl_context(trust_env=False)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                "the certificates cannot be read", where=ca_file, fix="Name a PEM file."
            ) from error

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """See Poster. Error texts never hold the URL's path or the headers: both may be secret."""
        target = httpx.URL(url)
        host = target.host
        port = target.port or (443 if target.scheme == "https" else 80)
        address = choose_address(
            self._resolve(host, port), scheme=target.scheme, networks=self._networks
        )
        request = httpx.Request(
            "POST",
            target.copy_with(host=address),
            content=body,
            headers={
                **headers,
                "Host": target.netloc.decode("ascii"),
                "Accept-Encoding": "identity",  # a small answer must not unpack into a large one
            },
            extensions={"sni_hostname": host} if target.scheme == "https" else {},
        )
        try:
            return self._send(request)
        except httpx.TimeoutException as error:
            raise PortError(f"no answer within {self._timeout_s:g} s", where=host) from error
        except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
            said = str(error).encode("utf-8", "replace")[:1000]
            raise MalformedAnswer("the answer is not HTTP", said) from error
        except httpx.LocalProtocolError as error:
            raise PortRefused("a header cannot be sent", where=host) from error
        except httpx.HTTPError as error:
            raise PortError(f"no connection ({type(error).__name__})", where=host) from error

    def _send(self, request: httpx.Request) -> Answer:
        until_s = self._clock.monotonic_s() + self._timeout_s
        # A client for each attempt: attempts are rare, and a connection kept open goes stale. It
        # takes nothing from the environment: a proxy named there would go round the guard.
        with httpx.Client(
            verify=self._tls, timeout=self._timeout_s, follow_redirects=False, trust_env=False
        ) as client:
            response = client.send(request, stream=True)
            try:
                body = b""
                for piece in response.iter_raw():
                    body += piece
                    late = self._clock.monotonic_s() > until_s
                    if late or len(body) > self._answer_bytes_max:
                        break  # the status says enough; a drip or a flood is not waited for
            finally:
                response.close()
        return Answer(
            status=response.status_code,
            retry_after=response.headers.get("retry-after", ""),
            body=body[: self._answer_bytes_max],
        )
