"""Kernels run in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import pytest

pytest.importorskip("triton")
