"""Calls to the Kubernetes API: raw JSON through the official client's connection, one deadline, no
hidden retries, errors of our own. Used by `remediation.kubernetes` and `remediation.configmap`.

Plain JSON because a node is read before every act: the client's models take three times as long,
and they reject an object that has grown a field value they do not know.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import OpenApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from fleetmend.errors import PortError, PortRefused, SettingsError

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

REFUSING = frozenset({400, 401, 403, 404, 405, 409, 410, 413, 415, 422})
"""Statuses that say no to this very request; all other failures may pass."""

# The client's loaders are shipped without types.
_load_file: Callable[..., None] = config.load_kube_config
_load_pod: Callable[..., None] = config.load_incluster_config

PAGE = 500
PAGES_MAX = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    body: Object

    @property
    def ok(self) -> bool:
        """Done."""
        return 200 <= self.status < 300

    @property
    def causes(self) -> frozenset[str]:
        """Machine-readable causes of a refusal (`DisruptionBudget` ...)."""
        details = self.body.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        told = causes if isinstance(causes, list) else []
        return frozenset(str(cause.get("reason", "")) for cause in told if isinstance(cause, dict))


class Rest:
    """One API server."""

    def __init__(self, api: client.ApiClient, *, timeout_s: float) -> None:
        """`timeout_s` bounds each call, connection included."""
        self._api = api
        self._timeout_s = timeout_s

    def get(self, path: str, **query: str) -> Object | None:
        """One object; None when there is none. Raises PortError, PortRefused."""
        answer = self.call("GET", path, query=query)
        return None if answer.status == 404 else checked(answer, path)

    def list(self, path: str, **query: str) -> list[Object]:
        """All items, page by page. Raises PortError, PortRefused."""
        items: list[Object] = []
        query |= {"limit": str(PAGE)}
        for _ in range(PAGES_MAX):
            page = checked(self.call("GET", path, query=query), path)
            part, metadata = page.get("items") or [], page.get("metadata") or {}
            if not isinstance(part, list) or not isinstance(metadata, dict):
                raise PortError("the answer is no list", where=path)
            items += part
            more = metadata.get("continue")
            if not more:
                return items
            query |= {"continue": str(more)}
        raise PortError(f"more than {PAGES_MAX * PAGE} items", where=path)

    def patch(self, path: str, body: object, *, content_type: str) -> Object:
        """The object after the patch. Raises PortError, PortRefused."""
        return checked(self.call("PATCH", path, body=body, content_type=content_type), path)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = JSON,
    ) -> Answer:
        """One request; any status is an answer. Raises PortError when none comes."""
        headers = {"Accept": JSON}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            request = self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = self._api.call_api(*request, _request_timeout=self._timeout_s)
            data = response.read()  # type: ignore[no-untyped-call]  # the client's own
        except (HTTPError, OpenApiException, ConfigException, OSError, ValueError) as error:
            # ValueError: a token or an address that cannot be sent; ConfigException: a token that
            # could not be renewed.
            what = f"no answer: {type(error).__name__}"
            raise PortError(what, where=f"{method} {path}") from error
        return Answer(int(response.status), _decode(data))


def connect(*, kubeconfig: str, timeout_s: float) -> Rest:
    """The cluster of a kubeconfig, or with an empty path the one that this pod runs in. Raises
    SettingsError."""
    settings = client.Configuration()
    try:
        if kubeconfig:
            _load_file(kubeconfig, client_configuration=settings, persist_config=False)
        else:
            _load_pod(client_configuration=settings)
    except (ConfigException, OSError) as error:
        raise _unusable(kubeconfig, str(error)) from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
        # The loader trusts the file's form. Its words may quote a token: they are not repeated.
        raise _unusable(kubeconfig, f"is no kubeconfig ({type(error).__name__})") from error
    # One call is one request: what a repeat means is for the executor to say.
    settings.retries = False
    return Rest(client.ApiClient(settings), timeout_s=timeout_s)


def _unusable(kubeconfig: str, why: str) -> SettingsError:
    where = kubeconfig or "service account of this pod"
    return SettingsError(f"cannot be used: {why}", where=where, fix="Set remediation.kubeconfig.")


def checked(answer: Answer, path: str) -> Object:
    """The body of a success. Raises PortRefused for a no, PortError for what may pass."""
    if answer.ok:
        return answer.body
    message = str(answer.body.get("message", ""))[:300]
    kind = PortRefused if answer.status in REFUSING else PortError
    raise kind(f"{answer.status} {message}".strip(), where=path)


def _decode(data: bytes) -> Object:
    """A body that is no JSON object (a proxy's page) counts as an empty one."""
    try:
        body = json.loads(data or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
