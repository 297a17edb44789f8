"""Near names: what is offered, and that a file of mistakes costs no more than it must."""

from __future__ import annotations

import time

from asrc.compiler.nearest import nearest


def test_the_nearest_spelling_in_any_letter_case() -> None:
    assert nearest("swihs", ["swish", "stride"]) == "swish"
    assert nearest("DENSE", ["dense"]) == "dense"
    assert nearest("zzz", ["dense"]) is None


def test_many_names() -> None:
    """3,000 misspelt names among 6,000 took minutes when each was compared with all."""
    known = [f"layer{i}" for i in range(6000)]
    assert nearest("layr7", known) is not None
    start = time.process_time()
    for i in range(100):
        nearest(f"lyer{i}", known)
    assert time.process_time() - start < 3
