"""Build the console's assets; an sdist carries the result, so installing from it needs no Node."""

import pathlib
import shutil
import subprocess
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebBuildHook(BuildHookInterface[Any]):
    """Called by hatchling before each sdist, wheel and editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Run the web build unless this is an editable install or the assets came with the
        sdist."""
        root = pathlib.Path(self.root)
        web, static = root / "web", root / "console" / "static"
        if version == "editable":  # developers run the web build themselves (make web)
            return
        if not (web / "package.json").exists():
            return
        if not (web / "node_modules").exists() and (static / "manifest.json").exists():
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is needed to build the console's assets: install Node.js 20")
        subprocess.run([npm, "ci", "--ignore-scripts"], cwd=web, check=True)
        subprocess.run([npm, "run", "build"], cwd=web, check=True)
