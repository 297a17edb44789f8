"""Kernels that `benchmarks/gpu.py` measures, and their rivals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from asrc.backends.torch.attention import attend, in_heads, relative_scores
from asrc.backends.torch.audio import Logmel
from asrc.backends.torch.stepping import apart
from asrc.backends.triton.kernels import active as act
from asrc.backends.triton.kernels import attention as att
from asrc.backends.triton.kernels import depthwise as dw
from asrc.backends.triton.kernels import linear as lin
from asrc.backends.triton.kernels import logmel as mel
from asrc.backends.triton.kernels import lstm as rec
from asrc.backends.triton.kernels import norm
from asrc.backends.triton.kernels import transducer_loss as loss
from asrc.backends.triton.kernels.rings import Moment, window
from asrc.backends.triton.packed import Packed, Weight, bytes_of, packed
from asrc.benchmarks.gpu_parts.measuring import (
    Bench,
    Call,
    Case,
    Launched,
    Rows,
    rotated,
    times_of,
)
from asrc.benchmarks.gpu_parts.steps import in_places


def both(bench: Bench, kernel: Call, plain: Call, *, compiled: bool = True) -> dict[str, Any]:
    """A kernel, PyTorch, and what `torch.compile` makes of that."""
    ways = {"kernel": lambda: kernel, "PyTorch": lambda: plain}
    if compiled:
        ways["torch.compile"] = lambda: bench.compiled(plain)
    return ways


def even(bits: int) -> Tensor:
    """Codes of an even grid of so many bits, which zero is between two of."""
    step = 1 << (8 - bits)
    return torch.arange(1 << bits) * step - 128 + step // 2


def narrow(weight: Tensor, bits: int) -> Packed:
    """At the codes of an even grid; the time does not depend on them."""
    grid = even(bits).to(weight.device)
    scale = weight.float().abs().amax(1) / 127
    return packed(weight, scale, grid if bits < 8 else None)


def numbered(weight: Packed) -> Tensor:
    """uint8 `[rows, columns]`: which code of the even grid."""
    return ((weight.codes().int() + 128) >> (8 - weight.bits)).to(torch.uint8)


# --- products ---------------------------------------------------------------------------------


def linear_rows(widths: tuple[int, ...], bench: Bench) -> Rows:
    """The largest is read long enough that beginning and ending do not count."""
    sizes = [(32, 48)] if bench.smoke else [(4096, 4096), (2560, 640)]
    large = (16384, 16384)
    if 4 in widths and not bench.smoke:
        yield f"product 1 x {large[1]} to {large[0]}, 4 bits", partial(product, bench, 1, *large, 4)
    for bits in widths[:1] if bench.smoke else widths:
        for rows in (1, 9) if bench.smoke else (1, 8, 64):
            for n, k in sizes:
                title = f"product {rows} x {k} to {n}, {bits} bits"
                yield title, partial(product, bench, rows, n, k, bits)


def product(bench: Bench, rows: int, n: int, k: int, bits: int) -> Case:
    """With one weight after the other, more of them than a cache holds."""
    x, dense = bench.random(rows, k), bench.random(n, k, seed=1, dtype=torch.float32)
    weight = narrow(dense, bits)
    codes, same = numbered(weight), weight.dense().to(x.dtype)
    grid = even(bits).to(x.device, torch.float32)
    times = times_of(weight.nbytes, bench)
    packs = [replace(weight, words=weight.words.clone()) for _ in range(times)]
    every = [codes.clone() for _ in range(times)]

    def plain(codes: Tensor) -> Tensor:
        values = grid[codes.int()] * weight.scale[:, None]
        return functional.linear(x, values.to(x.dtype))

    ways: dict[str, Callable[[], Call]] = {
        "kernel": lambda: rotated([partial(lin.linear, x, pack) for pack in packs]),
        "PyTorch": lambda: rotated([partial(plain, one) for one in every]),
    }
    if bits == 4:  # compiling each of the others would take all the time there is
        ways["torch.compile"] = lambda: over(bench.compiled(plain), every)
    dense_ways = {"cuBLAS, 16 bits": lambda one: partial(functional.linear, x, one)}
    if bits == 4:
        dense_ways |= {
            "tinygemm, 4 bits": partial(tinygemm, x, codes, weight.scale),
            "torchao, 4 bits": partial(torchao, x),
            "bitsandbytes, 4 bits": partial(bitsandbytes, x),
        }
    for way, make in dense_ways.items():
        ways[way] = partial(beside, make, same, times)
    return Case(ways, lin.cost(rows, weight, x.element_size()), times=times)


def over(call: Callable[[Tensor], Tensor], weights: list[Tensor]) -> Call:
    return rotated([partial(call, weight) for weight in weights])


def beside(make: Callable[[Tensor], Call], weight: Tensor, times: int) -> Call:
    """Of so many copies of a weight."""
    return rotated([make(weight.clone()) for _ in range(times)])


def tinygemm(x: Tensor, codes: Tensor, scale: Tensor, _: Tensor) -> Call:
    """PyTorch's own product in 4 bits: `(code - 8) * step + zero`, which an even grid is."""
    if not x.is_cuda:
        raise NotImplementedError("tinygemm is left out of a smoke test")
    group = next(g for g in (256, 128, 64, 32) if x.shape[1] % g == 0)
    pairs = (codes[:, ::2] << 4 | codes[:, 1::2]).contiguous()
    words = torch._convert_weight_to_int4pack(pairs, 8)
    steps = torch.stack([16 * scale, 8 * scale], -1).to(x.dtype)
    steps = steps.expand(x.shape[1] // group, *steps.shape).contiguous()
    return lambda: torch._weight_int4pack_mm(x, words, group, steps)


def layer(weight: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device=weight.device)
    made = made.to(weight.dtype)
    made.weight.copy_(weight)
    return made


def torchao(x: Tensor, weight: Tensor) -> Call:
    quantization, model = import_module("torchao.quantization"), nn.Sequential(layer(weight))
    quantization.quantize_(model, quantization.Int4WeightOnlyConfig(group_size=32))
    return lambda: model(x)


def bitsandbytes(x: Tensor, weight: Tensor) -> Call:
    library = import_module("bitsandbytes")
    made = library.nn.Linear4bit(*weight.shape[::-1], bias=False, compute_dtype=x.dtype)
    made.load_state_dict(layer(weight).state_dict())
    made.to(x.device)
    return lambda: made(x)


# --- LSTMs ------------------------------------------------------------------------------------


def lstm_rows(bench: Bench) -> Rows:
    widths, streams = ((16,), (1, 17)) if bench.smoke else ((640, 1024), (1, 64))
    for cells in widths:
        for batch in streams:
            for bits in (0, 4):
                title = f"LSTM step, {batch} streams, {cells} cells, {bits or 16} bits"
                yield title, partial(lstm_step, bench, batch, cells, bits)
    for cells in widths:
        for batch, frames in [(2, 3)] if bench.smoke else [(1, 200), (16, 200)]:
            title = f"LSTM sequence, {batch} x {frames}, {cells} cells"
            yield title, partial(lstm_sequence, bench, batch, frames, cells)


def lstm_weight(bench: Bench, cells: int, dtype: torch.dtype, bits: int = 0) -> Weight:
    dense = bench.random(4 * cells, 2 * cells, seed=1, dtype=torch.float32) / cells**0.5
    return narrow(dense, bits) if bits else dense.to(dtype)


def cudnn(weight: Tensor, bias: Tensor) -> nn.LSTM:
    cells = weight.shape[1] // 2
    made = nn.LSTM(cells, cells, batch_first=True).to(weight)
    made.weight_ih_l0.copy_(weight[:, :cells])
    made.weight_hh_l0.copy_(weight[:, cells:])
    made.bias_ih_l0.copy_(bias)
    made.bias_hh_l0.zero_()
    made.flatten_parameters()
    return made.eval()  # in training it keeps what the gradient needs


def cell(x: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A step as one writes it."""
    rows = functional.linear(torch.cat([x, h], -1), weight, bias)
    i, f, g, o = rows.chunk(4, -1)
    after = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(after)


def lstm_step(bench: Bench, batch: int, cells: int, bits: int) -> Case:
    """With one weight after the other, more of them than a cache holds."""
    dtype = torch.float32 if bench.smoke else torch.float16
    weight = lstm_weight(bench, cells, dtype, bits)
    dense = (weight.dense() if isinstance(weight, Packed) else weight).to(dtype)
    bias = bench.random(4 * cells, seed=2, dtype=dtype)
    x, h, c = (bench.random(batch, cells, seed=n, dtype=dtype) for n in (3, 4, 5))
    times = times_of(bytes_of(weight), bench)

    def made(own: Weight) -> Tensor:
        return rec.lstm_cell(x, h, c, own, bias)[0]

    def kernel() -> Call:
        return rotated([partial(made, copy_of(weight)) for _ in range(times)])

    def plain(weight: Tensor) -> Tensor:
        return cell(x, h, c, weight, bias)

    def net(weight: Tensor) -> Call:
        made = cudnn(weight, bias)
        return lambda: made(x[:, None], (h[None], c[None]))[0]

    ways: dict[str, Callable[[], Call]] = {
        "kernel": kernel,
        "PyTorch": partial(beside, lambda own: partial(plain, own), dense, times),
        "cuDNN": partial(beside, net, dense, times),
    }
    if bits == 0:  # the rivals of few bits are the same
        weights = [dense.clone() for _ in range(times)]
        ways["torch.compile"] = lambda: over(bench.compiled(plain), weights)
    cost = rec.cost(batch, 1, weight, cells, x.element_size())
    return Case(ways, cost, times=times, again=False)


def copy_of(weight: Weight) -> Weight:
    if isinstance(weight, Packed):
        return replace(weight, words=weight.words.clone())
    return weight.clone()


def lstm_sequence(bench: Bench, batch: int, frames: int, cells: int) -> Case:
    dtype = torch.float32 if bench.smoke else torch.float16
    weight, bias = lstm_weight(bench, cells, dtype), bench.random(4 * cells, seed=2, dtype=dtype)
    assert isinstance(weight, Tensor)
    x = bench.random(batch, frames, cells, dtype=dtype)
    zero, net = x.new_zeros(batch, cells), cudnn(weight, bias)
    # Compiled, all frames would be written out one after the other.
    ways = both(
        bench,
        lambda: rec.lstm(x, zero, zero, weight, bias)[0],
        lambda: rec.reference(x, zero, zero, weight, bias)[0],
        compiled=False,
    )
    ways["cuDNN"] = lambda: lambda: net(x)[0]
    return Case(ways, rec.cost(batch, frames, weight, cells, x.element_size()))


# --- attention --------------------------------------------------------------------------------


def attention_rows(bench: Bench) -> Rows:
    frames, width, heads = (9, 16, 2) if bench.smoke else (1500, 512, 8)
    for batch in (1,) if bench.smoke else (1, 8):
        for relative in (True, False):
            kind = "relative" if relative else "no"
            title = f"attention, {batch} x {frames} frames, chunks, {kind} positions"
            yield title, partial(offline, bench, (batch, frames, width), heads, relative)
    for streams in (2,) if bench.smoke else (1, 64):
        title = f"attention step, {streams} streams, 8 of 72 frames, relative positions"
        yield title, partial(attention_step, bench, streams, width, heads)


def offline(bench: Bench, shape: tuple[int, int, int], heads: int, relative: bool) -> Case:
    frames = shape[1]
    q, k, v, p = (bench.random(*shape, seed=n) for n in range(4))
    r = bench.random(1, 2 * frames - 1, shape[2], seed=4)
    positions = (p, r) if relative else ()
    first, last = att.intervals(frames, frames, chunk=8, left=64, device=bench.device)
    given = (q, k, v, heads, first, last, None, *positions)
    ways = both(bench, lambda: att.attention(*given), lambda: att.reference(*given))
    split = [in_heads(x, heads) for x in (q, k, v)]
    s = torch.arange(frames, device=bench.device)
    seen = (s >= first[:, None]) & (s <= last[:, None])
    ways["SDPA"] = lambda: lambda: sdpa(split, seen, heads, *positions)
    ways["FlexAttention"] = partial(flex, bench, split, (first, last), heads, *positions)
    return Case(ways, att.cost(q, first, last, *positions))


def sdpa(
    split: list[Tensor], seen: Tensor, heads: int, p: Tensor | None = None, r: Tensor | None = None
) -> Tensor:
    mask = seen
    if p is not None and r is not None:
        scores = relative_scores(p, r, heads, len(seen))
        mask = scores.masked_fill(~seen, float("-inf"))
    return functional.scaled_dot_product_attention(*split, mask).transpose(1, 2).flatten(2)


def flex(
    bench: Bench,
    split: list[Tensor],
    bounds: tuple[Tensor, Tensor],
    heads: int,
    p: Tensor | None = None,
    r: Tensor | None = None,
) -> Call:
    """Relative scores are made beside it: their product is not one of a query and a key."""
    (first, last), frames = bounds, len(bounds[0])
    if bench.smoke:
        raise NotImplementedError("FlexAttention is left out of a smoke test")
    own = import_module("torch.nn.attention.flex_attention")
    flex_attention, create_block_mask = own.flex_attention, own.create_block_mask
    block = create_block_mask(
        lambda b, h, i, j: (j >= first[i]) & (j <= last[i]), None, None, frames, frames,
        device=str(bench.device),
    )  # fmt: skip

    def call() -> Tensor:
        if p is None or r is None:
            return flex_attention(*split, block_mask=block)
        scores = relative_scores(p, r, heads, frames)
        return flex_attention(
            *split, score_mod=lambda x, b, h, i, j: x + scores[b, h, i, j], block_mask=block
        )

    made = bench.compiled(call)
    return lambda: made().transpose(1, 2).flatten(2)


def attention_step(bench: Bench, streams: int, width: int, heads: int) -> Case:
    q, k, v, p = (bench.random(streams, 8, width, seed=n) for n in range(4))
    held = (bench.random(streams, 64, width, seed=n) for n in (5, 6))
    age = torch.arange(streams, device=bench.device)
    ring = att.Ring(*held, Moment(100 + age, 8, -8))
    spans = att.intervals(8, 72, right=None, device=bench.device)
    r = bench.random(1, 79, width, seed=7)
    given = (q, k, v, heads, ring, *spans, None, p, r)
    s = torch.arange(72, device=bench.device)
    seen = (s >= spans[0][:, None]) & (s <= spans[1][:, None])
    place = apart(r, tuple(range(8)), tuple(range(72)), -71)

    def plain() -> Tensor:
        """What `att.reference_step` makes, with nothing copied from the host."""
        keys, values = (window(x, new, ring.now) for x, new in ((ring.keys, k), (ring.values, v)))
        there = ring.now.oldest(64).unsqueeze(1) + s >= 0
        bias = in_places(p, r, heads, place)
        return attend(q, keys, values, heads, seen & there.unsqueeze(1), bias)

    ways = both(bench, lambda: att.attention_step(*given, low=-71), plain)
    return Case(ways, att.cost(q, *spans, p, r))


# --- rows -------------------------------------------------------------------------------------


def other_rows(bench: Bench) -> Rows:
    batch, frames, width = (2, 5, 24) if bench.smoke else (16, 375, 512)
    yield (
        f"depthwise module, {batch} x {frames} x {width}",
        partial(filters, bench, batch, frames, width),
    )
    yield (
        f"layer norm, {batch * frames} rows of {width}",
        partial(layer_norm, bench, batch * frames, width),
    )
    seconds = 0.1 if bench.smoke else 15.0
    yield f"log-mel, {batch} x {seconds:g} s", partial(log_mel, bench, batch, seconds)
    rows, width = (37, 24) if bench.smoke else (4096, 512)
    for share in (50,) if bench.smoke else (100, 50, 25, 10):
        title = f"feed-forward {width} to {4 * width}, {share} % of {rows} rows"
        yield title, partial(gated, bench, rows, width, share / 100)


def filters(bench: Bench, batch: int, frames: int, width: int) -> Case:
    x, weight = bench.random(batch, frames, 2 * width), bench.random(width, 31, seed=1)
    bias, scale, shift = (bench.random(width, seed=n) for n in (2, 3, 4))
    around = dw.Around(True, (scale, shift), "swish")

    def plain() -> Tensor:
        """What `dw.reference` makes, with no module made on the way."""
        rows = functional.pad(functional.glu(x, -1).transpose(1, 2), (30, 0))
        y = functional.conv1d(rows, weight[:, None], bias, groups=width).transpose(1, 2)
        return functional.silu(y * scale + shift)

    given = (x, weight, bias, (30, 0, 1, 1), around)
    ways = both(bench, lambda: dw.depthwise(*given), plain)
    cost = dw.cost(batch, frames, weight, (30, 0, 1, 1), True, x.element_size())
    return Case(ways, cost)


def layer_norm(bench: Bench, rows: int, width: int) -> Case:
    x, weight, bias = (bench.random(*s) for s in ((rows, width), (width,), (width,)))
    given = (x, weight, bias, 1e-5)
    ways = both(
        bench,
        lambda: norm.layer_norm(*given)[0],
        lambda: functional.layer_norm(x, (width,), weight, bias, 1e-5),
    )
    return Case(ways, norm.cost(x))


def log_mel(bench: Bench, batch: int, seconds: float) -> Case:
    audio = bench.random(batch, int(16_000 * seconds), 1, dtype=torch.float32)
    tables = mel.tables((80,), 400, 16_000.0, 0.0, 0.0, bench.device)
    ways = both(
        bench, lambda: mel.logmel(audio, tables, 160), lambda: mel.reference(audio, tables, 160)
    )
    fast = Logmel((80,), 400, 160, 16_000.0, 0.0, 0.0).to(bench.device)
    ways["cuFFT"] = lambda: lambda: fast(audio)
    return Case(ways, mel.cost(audio, tables, 160), batch * seconds)


def gated(bench: Bench, rows: int, width: int, share: float) -> Case:
    """PyTorch takes all rows, and as its best the active ones from a list that is there already."""
    x, gate = bench.random(rows, width), bench.random(rows, seed=1, dtype=torch.float32)
    gate = gate.argsort() < round(share * rows)
    up = bench.random(4 * width, width, seed=2) / width**0.5
    down = bench.random(width, 4 * width, seed=3) / (4 * width) ** 0.5
    at = gate.nonzero()[:, 0]

    def whole(row: Tensor) -> Tensor:
        return row + functional.linear(functional.silu(functional.linear(row, up)), down)

    ways = both(
        bench,
        lambda: act.feed_forward(x, gate, up, down),
        lambda: torch.where(gate[:, None], whole(x), x),
        compiled=False,
    )
    ways["PyTorch, gathered"] = lambda: lambda: x.index_copy(0, at, whole(x[at]))
    return Case(ways, act.cost(len(at), rows, up, down, x.element_size()))


# --- the loss ---------------------------------------------------------------------------------


def loss_rows(bench: Bench) -> Rows:
    shape = (2, 4, 3, 9) if bench.smoke else (8, 200, 41, 1000)
    for dtype in (torch.float32, bench.half):
        title = f"transducer loss and gradient, {' x '.join(map(str, shape))}, {dtype}"
        yield title.replace("torch.", ""), partial(transducer, bench, shape, dtype)


def transducer(bench: Bench, shape: tuple[int, int, int, int], dtype: torch.dtype) -> Case:
    batch, time, states, classes = shape
    logits = bench.random(*shape, dtype=dtype)
    targets = torch.arange(batch * (states - 1), device=bench.device) % (classes - 1)
    targets = targets.view(batch, -1)
    frames, labels = (torch.full((batch,), n, device=bench.device) for n in (time, states - 1))
    about = loss.Batch(targets, frames.int(), labels.int(), classes - 1)
    room, out, weight = loss.Lattice.room(logits), torch.empty_like(logits), logits.new_ones(batch)
    losses = torch.empty(batch, device=bench.device)

    def kernel() -> Tensor:
        loss.sweep(logits, about, room, losses, both=True)
        loss.gradient(logits, about, room, weight.float(), out)
        return out

    given = (logits, targets, frames, labels)
    ways: dict[str, Callable[[], Call]] = {
        "kernel": lambda: kernel,
        "PyTorch": lambda: Launched(partial(graded, loss.reference, *given)),
        "torchaudio": lambda: Launched(torchaudio(*given)),
    }
    return Case(ways, loss.cost(shape, logits.element_size()))


def graded(of: Callable[..., Tensor], logits: Tensor, *rest: Tensor) -> Tensor:
    with torch.enable_grad():
        x = logits.clone().requires_grad_()
        return torch.autograd.grad(of(x, *rest).sum(), x)[0]


def torchaudio(logits: Tensor, *rest: Tensor) -> Call:
    rnnt_loss = import_module("torchaudio.functional").rnnt_loss
    own = partial(rnnt_loss, blank=-1, reduction="none")
    return partial(graded, own, logits, *(x.int() for x in rest))


SECTIONS: Mapping[str, Callable[[Bench], Rows]] = {
    "linear": partial(linear_rows, (4,)),
    "bits": partial(linear_rows, (2, 8, 3, 5)),
    "lstm": lstm_rows,
    "attention": attention_rows,
    "rows": other_rows,
    "loss": loss_rows,
}
