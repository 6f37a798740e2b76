"""The cluster's API for `collectors.kube_watch`: the one module of this room that knows the client.

Objects are read as raw JSON: models of large lists cost three times as much.
"""

import json
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from collectors.kube_fleet import Resource
from collectors.kube_objects import Object
from collectors.kube_watch import VersionGone, WatchEvent, WatchType
from fleetmend.errors import PortError, PortRefused
from fleetmend.settings.collectors import KubernetesSettings

_PAGE = 500
"""Objects of one page of a list."""
_CONNECT_S = 5.0
_IDLE_S = 30.0
"""How much longer than a watch may last a read may wait before the connection counts as dead."""
_load: Any = config  # its loaders have no annotations


class KubeApi:
    """The real API: a `KubeReader`."""

    def __init__(self, settings: KubernetesSettings) -> None:
        """Raises PortError when there are no credentials."""
        configuration = client.Configuration()
        try:
            if settings.kubeconfig:
                _load.load_kube_config(settings.kubeconfig, client_configuration=configuration)
            else:
                _load.load_incluster_config(configuration)
        except (ConfigException, OSError) as error:
            where = settings.kubeconfig or "service account"
            raise PortError(f"no credentials: {error}", where=where) from error
        except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
            # The loader trusts the file's form. Its words may quote a token: they are not repeated.
            what = f"no credentials: no kubeconfig ({type(error).__name__})"
            raise PortError(what, where=settings.kubeconfig) from error
        core = client.CoreV1Api(client.ApiClient(configuration))
        self._calls: dict[Resource, Callable[..., Any]] = {
            Resource.NODES: core.list_node,
            Resource.PODS: core.list_pod_for_all_namespaces,
        }
        self._open: dict[Resource, Any] = {}

    def list(self, resource: Resource) -> tuple[list[Object], str]:
        """All objects, page by page."""
        items: list[Object] = []
        token: str | None = None
        while True:
            page = self._page(resource, token)
            part, metadata = page.get("items") or [], page.get("metadata") or {}
            if not isinstance(part, list) or not isinstance(metadata, dict):
                raise PortError("the answer is no list", where=f"list {resource}")
            items += part
            token = metadata.get("continue")
            if not token:
                return items, str(metadata.get("resourceVersion", ""))

    def _page(self, resource: Resource, token: str | None) -> dict[str, Any]:
        response = self._call(
            resource, limit=_PAGE, _continue=token, _request_timeout=(_CONNECT_S, _IDLE_S)
        )
        try:
            page = json.loads(response.data)
        except (ValueError, urllib3.exceptions.HTTPError) as error:
            raise PortError(str(error), where=f"list {resource}") from error
        finally:
            response.release_conn()
        if not isinstance(page, dict):
            raise PortError("the answer is no list", where=f"list {resource}")
        return page

    def watch(self, resource: Resource, since: str, seconds: float) -> Iterator[WatchEvent]:
        """What happens after `since`."""
        response = self._call(
            resource,
            watch=True,
            resource_version=since,
            allow_watch_bookmarks=True,
            timeout_seconds=int(seconds),
            _request_timeout=(_CONNECT_S, seconds + _IDLE_S),
        )
        self._open[resource] = response
        rest = b""
        try:
            for chunk in response.stream(amt=None, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (_watch_event(line, resource) for line in lines if line.strip())
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise PortError(str(error), where=f"watch {resource}") from error
        finally:
            self._open.pop(resource, None)
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

    def _call(self, resource: Resource, **arguments: object) -> Any:
        """The raw response of a list or watch."""
        where = str(resource)
        try:
            response = self._calls[resource](_preload_content=False, **arguments)
        except ApiException as error:
            raise _translated(error.status or 0, str(error.reason), where) from error
        except (urllib3.exceptions.HTTPError, ConfigException, OSError, ValueError) as error:
            # ValueError: a token or an address that cannot be sent, which it may quote;
            # ConfigException: a token that could not be renewed.
            raise PortError(f"no answer: {type(error).__name__}", where=where) from error
        status = int(getattr(response, "status", HTTPStatus.OK))
        if status != HTTPStatus.OK:
            response.release_conn()
            raise _translated(status, str(response.reason or ""), where)
        return response


def _translated(status: int, reason: str, where: str) -> PortError:
    if status == HTTPStatus.GONE:
        return VersionGone(reason, where=where)
    refused = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
    error = PortRefused if status in refused else PortError
    return error(f"HTTP {status}: {reason}", where=where)


def _watch_event(line: bytes, resource: Resource) -> WatchEvent:
    """One line of a watch. Raises VersionGone and PortError for the server's own errors."""
    event = json.loads(line)
    if not isinstance(event, dict):
        raise PortError("a line that is no event", where=str(resource))
    kind, obj = event.get("type"), event.get("object") or {}
    if not isinstance(obj, dict):
        raise PortError("an event without an object", where=str(resource))
    if kind == "ERROR":
        raise _translated(int(str(obj.get("code", 0))), str(obj.get("message", "")), str(resource))
    return WatchEvent(WatchType(str(kind)), obj)
