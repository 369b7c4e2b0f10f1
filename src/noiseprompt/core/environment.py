"""What ran: this package, the libraries below it, the machine."""

from __future__ import annotations

import platform
from importlib import metadata


def _environment() -> dict[str, str]:
    versions = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for package in ("noiseprompt", "torch", "diffusers", "transformers", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
