"""Optional Python packages and programs, with the line that installs them."""

from __future__ import annotations

import shutil
from importlib import import_module
from typing import Any

from ...compiler.diagnostics import AsrcError, diagnostic


def needed(module: str, package: str, purpose: str) -> Any:
    """An optional Python package. Raises AsrcError E1003 where it does not load."""
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        message = f"the Python package `{package}` {purpose}, and does not load ({error})"
        raise AsrcError(diagnostic("E1003", message, help=f"pip install {package}")) from None


def program(name: str, package: str) -> str:
    """The path of a program. Raises AsrcError E1003 where it is not installed."""
    found = shutil.which(name)
    if found is None:
        message = f"the program `{name}` is not installed"
        raise AsrcError(diagnostic("E1003", message, help=f"apt-get install {package}"))
    return found
