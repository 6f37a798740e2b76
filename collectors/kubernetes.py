"""The cluster's API for `collectors.kube_reader`: the one module of this room that knows the
client.

Only the client's connection is used: its models cost 90 MB and three times the time. Objects are
read as raw JSON by pydantic's parser, twice as fast as the standard library's and with one copy of
each key.
"""

import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import OpenApiException
from kubernetes.config.config_exception import ConfigException
from pydantic_core import from_json

from collectors.kube_feeds import Feed
from collectors.kube_json import Object, items, text
from collectors.kube_reader import Page, VersionGone, WatchEvent, WatchType
from fleetmend.errors import PortError, PortRefused
from fleetmend.settings.collectors import KubernetesSettings

_CONNECT_S = 5.0
_LIST_S = 60.0
"""Longest wait for a part of a list."""
_QUIET_S = 100.0
"""Longest wait for a watch to say anything. Servers send a bookmark a minute: a connection that
says less is most likely dead, and to watch anew from the same version costs nothing."""
_PAGE_BYTES_MAX = 256 * 1024 * 1024
_LINE_BYTES_MAX = 16 * 1024 * 1024
_CHUNK = 1 << 20
_WORDS_MAX = 65_536
_AHEAD = "Too large resource version"
"""What a server says that is behind the version, such as one restored from a backup."""
# The client's loaders are shipped without types.
_load_file: Callable[..., None] = config.load_kube_config
_load_pod: Callable[..., None] = config.load_incluster_config
_FAILURES = (urllib3.exceptions.HTTPError, OpenApiException, ConfigException, OSError, ValueError)
"""ValueError: a token or an address that cannot be sent, which it may quote; ConfigException: a
token that could not be renewed."""


class KubeApi:
    """The real API: a `KubeSource`."""

    def __init__(self, settings: KubernetesSettings) -> None:
        """Raises PortError when there are no credentials."""
        configuration = client.Configuration()
        try:
            if settings.kubeconfig:
                _load_file(settings.kubeconfig, client_configuration=configuration)
            else:
                _load_pod(configuration)
        except (ConfigException, OSError) as error:
            where = settings.kubeconfig or "service account"
            raise PortError(f"no credentials: {error}", where=where) from error
        except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
            # The loader trusts the file's form. Its words may quote a token: they are not repeated.
            what = f"no credentials: no kubeconfig ({type(error).__name__})"
            raise PortError(what, where=settings.kubeconfig) from error
        # A try is a try: pauses between them are the reader's.
        configuration.retries = False
        configuration.connection_pool_maxsize = 64
        self._client = client.ApiClient(configuration)
        self._open: dict[Feed, Any] = {}

    def pages(self, feed: Feed) -> Iterator[Page]:
        """All objects, page by page."""
        query = {"limit": str(feed.page)}
        while True:
            page = self._page(feed, query)
            metadata = page.get("metadata") or {}
            objects = page.get("items") or []
            if not isinstance(objects, list) or not isinstance(metadata, dict):
                raise PortError("the answer is no list", where=f"list {feed}")
            more = text(metadata, "continue", most=_WORDS_MAX)
            del page
            yield Page(objects, text(metadata, "resourceVersion"))
            if not more:
                return
            query["continue"] = more

    def _page(self, feed: Feed, query: dict[str, str]) -> dict[str, Any]:
        where = f"list {feed}"
        response = self._call(feed, query, _LIST_S)
        try:
            page = from_json(_body(response, where))
        except _FAILURES as error:
            raise PortError(f"{type(error).__name__}: {error}", where=where) from error
        finally:
            # Read to its end it gives its connection back by itself; else nobody may use that
            # again.
            response.close()
        if not isinstance(page, dict):
            raise PortError("the answer is no list", where=where)
        return page

    def watch(self, feed: Feed, since: str, seconds: float) -> Iterator[WatchEvent]:
        """What happens after `since`; the watch is granted when this returns."""
        query = {
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
        }
        response = self._call(feed, query, min(_QUIET_S, seconds + _LIST_S))
        self._open[feed] = response
        return self._events(feed, response)

    def _events(self, feed: Feed, response: Any) -> Iterator[WatchEvent]:
        try:
            for line in _lines(response, f"watch {feed}"):
                yield _watch_event(line, feed)
        except urllib3.exceptions.ReadTimeoutError:
            return  # nothing was said for long: the next watch goes on from the same version
        except _FAILURES as error:
            raise PortError(f"{type(error).__name__}: {error}", where=f"watch {feed}") from error
        finally:
            self._open.pop(feed, None)
            response.close()

    def stop(self) -> None:
        """End the open watches: closing from another thread would wait for the blocked read."""
        for response in list(self._open.values()):
            connection = getattr(response, "connection", None)
            plain = getattr(connection, "sock", None)
            if isinstance(plain, socket.socket):
                try:
                    plain.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it has ended by itself

    def _call(self, feed: Feed, query: dict[str, str], quiet_s: float) -> Any:
        """The raw response of a list or watch that was granted."""
        if feed.selector:
            query = query | {"fieldSelector": feed.selector}
        try:
            request = self._client.param_serialize(
                "GET",
                feed.path,
                query_params=list(query.items()),
                header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"],
            )
            answer = self._client.call_api(*request, _request_timeout=(_CONNECT_S, quiet_s))
        except _FAILURES as error:
            raise PortError(f"no answer: {type(error).__name__}", where=str(feed)) from error
        response = answer.response
        if response.status != HTTPStatus.OK:
            try:
                words = response.read(_WORDS_MAX, decode_content=True)
            except _FAILURES:
                words = b""  # the status alone says enough
            response.close()
            raise _refused(int(response.status), _message(words), str(feed))
        return response


def _body(response: Any, where: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := response.read(_CHUNK, decode_content=True):
        size += len(part)
        if size > _PAGE_BYTES_MAX:
            raise PortError(f"a page of more than {_PAGE_BYTES_MAX} bytes", where=where)
        parts.append(part)
    return b"".join(parts)


def _lines(response: Any, where: str) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(amt=None, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_BYTES_MAX:
            raise PortError(f"a line of more than {_LINE_BYTES_MAX} bytes", where=where)
        yield from (line for line in whole if line.strip())


def _message(words: bytes) -> str:
    """What a refusal says, and why the request was no good as far as it says that too."""
    try:
        status = from_json(words)
    except ValueError:
        return ""
    causes = (text(cause, "message") for cause in items(status, "details", "causes"))
    return " ".join(part for part in (text(status, "message"), *causes) if part)


def _refused(status: int, message: str, where: str) -> PortError:
    if status == HTTPStatus.GONE or _AHEAD in message:
        return VersionGone(message, where=where)
    refused = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
    error = PortRefused if status in refused else PortError
    return error(f"HTTP {status}: {message}", where=where)


def _watch_event(line: bytes, feed: Feed) -> WatchEvent:
    """One line of a watch. Raises VersionGone and PortError for the server's own errors."""
    event = from_json(line)
    if not isinstance(event, dict):
        raise PortError("a line that is no event", where=str(feed))
    kind, obj = event.get("type"), event.get("object") or {}
    if not isinstance(obj, dict):
        raise PortError("an event without an object", where=str(feed))
    if kind == "ERROR":
        raise _refused(int(text(obj, "code") or 0), text(obj, "message"), str(feed))
    found: Object = obj
    return WatchEvent(WatchType(str(kind)), found)
