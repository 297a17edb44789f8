"""Contractions: dense maps, convolution along bands, depthwise filters, embeddings."""

from __future__ import annotations

import numpy as np

from .call import Call, Rule, framewise
from .value import Array


def _shifted(call: Call, data: Array) -> Array:
    """Plus the bias, whose axes are the first of a frame's."""
    if not call.node.attrs["bias"]:
        return data
    bias = call.param("bias")
    return data + bias.reshape(bias.shape + (1,) * (len(call.out.dims) - bias.ndim))


def _dense(call: Call) -> Array:
    """Everything in the frame in one row, dims then taps; groups are stretches of that row."""
    rows = [
        x.reshape(*call.index, kind.size) for x, kind in zip(call.data, call.kinds, strict=True)
    ]
    row, groups = np.concatenate(rows, -1), call.count("groups")
    weight = call.param("weight").reshape(groups, -1, row.shape[-1] // groups)
    parts = row.reshape(*call.index, groups, weight.shape[-1])
    return _shifted(call, call.framed(_products(parts, weight)))


def _products(rows: Array, weights: Array) -> Array:
    """`[*index, groups, in]` by `[groups, out, in]`, group by group: `[*index, groups, out]`."""
    groups, out, count = weights.shape
    flat = rows.reshape(-1, groups, count)
    found = [flat[:, group] @ weights[group].T for group in range(groups)]
    return np.stack(found, 1).reshape(*rows.shape[:-1], out)


def _convf(call: Call) -> Array:
    """Zero `same` padding: `(kernel - 1) / 2` bands on either side, outputs `stride` apart."""
    weight, groups = call.param("weight"), call.count("groups")
    pieces = _pieces(call, weight.shape[2])
    channels, bands = pieces.shape[-4], pieces.shape[-3]
    grouped = pieces.reshape(*call.index, groups, channels // groups, *pieces.shape[-3:])
    kernels = weight.reshape(groups, -1, *weight.shape[1:])
    found = np.einsum("...gcfkm,gockm->...gof", grouped, kernels)
    return _shifted(call, found.reshape(*call.index, weight.shape[0], bands))


def _pieces(call: Call, kernel: int) -> Array:
    """What each output band sees: `[*index, channels, out bands, kernel, taps]`."""
    dims, taps = call.kind.dims, call.kind.taps or 1
    x = call.data[0].reshape(*call.index, *((1, *dims)[-2:]), taps)
    side = (kernel - 1) // 2
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(side, side), (0, 0)])
    pieces = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=-2)
    return np.moveaxis(pieces, -1, -2)[..., :: call.count("stride"), :, :]


def _depthwise(call: Call) -> Array:
    return _shifted(call, (call.data[0] * call.param("weight")).sum(-1))


def _embed(call: Call) -> Array:
    return call.param("weight")[call.data[0].reshape(call.index)]


RULES: dict[str, Rule] = {
    "dense": framewise(_dense),
    "convf": framewise(_convf),
    "depthwise": framewise(_depthwise),
    "embed": framewise(_embed),
}
