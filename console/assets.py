"""The built front end (console/static, made from web/): which hashed file bears which name.

Without a build the pages still say everything, only plainly; /readyz says that it is missing.
"""

import functools
import json
from importlib.resources import files
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(str(files("console"))) / "static"


class Assets:
    """Names to addresses, and the icons."""

    def __init__(self, folder: Path = STATIC) -> None:
        self.folder = folder
        self._names: dict[str, str] = _read(folder / "manifest.json")
        self.icons: dict[str, str] = _read(folder / "icons.json")

    @property
    def built(self) -> bool:
        """True when the front end has been built."""
        return bool(self._names)

    def url(self, name: str) -> str:
        """The address of an entry of the manifest; empty when nothing is built."""
        return f"/static/{self._names[name]}" if name in self._names else ""


class ImmutableFiles(StaticFiles):
    """Static files whose names hold the hash of their content: browsers may keep them for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or 404."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


@functools.cache
def built_assets() -> Assets:
    """The package's own build, read once."""
    return Assets()


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    loaded: dict[str, str] = json.loads(path.read_text())
    return loaded
