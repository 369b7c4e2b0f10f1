"""What ran: this package, the libraries below it, the machine."""

from __future__ import annotations

VERSION = "0.1.0"
"""Of this package."""


def environment() -> dict[str, str]:
    """Versions of Python, this package and the libraries below it, and the kind of machine."""
    import platform
    from importlib import metadata  # here, for they take longer than all else of `import noiseprompt`

    versions = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    versions["noiseprompt"] = VERSION
    for package in ("torch", "diffusers", "transformers", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
