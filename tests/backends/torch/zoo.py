"""The models of the zoo, ready to be lowered: as they are, or after each of their pipelines."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

import asrc
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts

MODELS = Path(asrc.__file__).parent / "models"
SMALL = ("small/*.asr", "commands/*.asr", "talkie/*.asr")
PUBLISHED = ("*.asr",)


def cases(patterns: tuple[str, ...]) -> list[pytest.ParameterSet]:
    """One a model and pipeline; a model without pipelines is one by itself."""
    paths = [path for pattern in patterns for path in sorted(MODELS.glob(pattern))]
    return [
        pytest.param(name, pipeline, id=f"{name}-{pipeline}" if pipeline else name)
        for name in (path.relative_to(MODELS).as_posix() for path in paths)
        for pipeline in _pipelines(name)
    ]


@cache
def _load(name: str) -> asrc.Model:
    return asrc.load(MODELS / name)


def _pipelines(name: str) -> list[str]:
    return list(_load(name).results) or [""]


def facts(name: str, pipeline: str) -> Facts:
    model = _load(name)
    found = model.results[pipeline].facts if pipeline else model.facts
    assert found is not None
    return found


def streams(found: Facts) -> bool:
    """Whether a model can run as a stream at all."""
    try:
        found.schedule  # noqa: B018
    except AsrcError:
        return False
    return True
