"""Operators that read other frames of a stream, or change its period."""

from __future__ import annotations

import numpy as np

from ..types import Finite
from .call import Call, Rule
from .value import Array, Mask, Value, initial, select


def _steps(call: Call) -> tuple[int, int]:
    """The axis that a shift runs along, the innermost one, and its length."""
    axis = call.x.rank - 1
    return axis, call.x.present.shape[axis]


def _read(call: Call, offset: int, last: Array | None = None) -> Array:
    """Frame `t + offset` at every `t`; the initial value where it is absent or after `last[t]`."""
    axis, count = _steps(call)
    wanted = np.arange(count) + offset
    inside = (wanted >= 0) & (wanted < count)
    if last is not None:
        inside &= wanted <= last
    source = np.clip(wanted, 0, max(count - 1, 0))
    there: Mask = call.x.present.take(source, axis) & inside
    start = call.ins[1] if len(call.ins) > 1 else None
    return select(there, call.x.data.take(source, axis), initial(start, call.kind))


def _delay(call: Call) -> Value:
    return Value(_read(call, -call.count("frames")), call.x.present)


def _ahead(call: Call) -> Value:
    return Value(_read(call, call.count("frames")), call.x.present)


def _window(call: Call) -> Value:
    """Taps oldest first: tap `m` is `x[t + (m - past) * by]`."""
    past, future, by = (call.count(name) for name in ("past", "future", "by"))
    last = _chunk_ends(call) if call.node.attrs["in_chunk"] else None
    taps = [_read(call, offset * by, last) for offset in range(-past, future + 1)]
    return Value(np.stack(taps, -1), call.x.present)


def _chunk_ends(call: Call) -> Array | None:
    """The last frame of each frame's chunk."""
    chunk = (
        None if isinstance(call.kind.clock, Finite) else call.frames_in("chunk", call.kind.clock)
    )
    if chunk is None:
        return None
    frames = np.arange(_steps(call)[1])
    return np.asarray((frames // chunk + 1) * chunk - 1)


def _stride(call: Call) -> Value:
    """The last frame of each whole slot."""
    factor = call.count("factor")
    return Value(call.x.data[factor - 1 :: factor], call.x.present[factor - 1 :: factor])


def _upsample(call: Call) -> Value:
    factor = call.count("factor")
    return Value(np.repeat(call.x.data, factor, 0), np.repeat(call.x.present, factor, 0))


def _lattice(call: Call) -> Value:
    """Each frame once for every label of the utterance."""
    labels = call.extent.labels
    return Value(
        np.repeat(call.x.data[:, None], labels, 1), np.repeat(call.x.present[:, None], labels, 1)
    )


RULES: dict[str, Rule] = {
    "delay": _delay,
    "ahead": _ahead,
    "window": _window,
    "stride": _stride,
    "upsample": _upsample,
    "lattice": _lattice,
}
