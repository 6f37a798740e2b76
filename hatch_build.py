"""Build the console's assets and take the runbooks along.

An sdist carries the assets, so installing from it needs no Node. The runbooks lie beside the
packages, where people look for them; a wheel carries a copy inside `remediation`, where
`remediation.runbook_files.shipped` finds it.
"""

import pathlib
import shutil
import subprocess
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebBuildHook(BuildHookInterface[Any]):
    """Called by hatchling before each sdist, wheel and editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the runbooks to a wheel, and run the web build unless the assets came with the
        sdist. An editable install gets neither: it finds both in the working tree."""
        root = pathlib.Path(self.root)
        web, static = root / "web", root / "console" / "static"
        if version == "editable":  # developers run the web build themselves (make web)
            return
        if self.target_name == "wheel":
            for path in sorted((root / "runbooks").glob("*.yaml")):
                build_data["force_include"][str(path)] = f"remediation/runbooks/{path.name}"
        if not (web / "package.json").exists():
            return
        if not (web / "node_modules").exists() and (static / "manifest.json").exists():
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is needed to build the console's assets: install Node.js 20")
        subprocess.run([npm, "ci", "--ignore-scripts"], cwd=web, check=True)
        subprocess.run([npm, "run", "build"], cwd=web, check=True)
