"""Models and audio to compile, small, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache

import numpy as np
import torch

from asrc.backends.nna.calibrate import calibrated
from asrc.backends.nna.program import Array
from asrc.backends.nna.transducer import Ends, Programs, compile_transducer
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.compiler.facts import Facts
from asrc.compiler.protocol import Weights
from asrc.compiler.source import Source
from asrc.compiler.units import Quantity
from asrc.dsl.check import read_model
from asrc.passes.fold_norm import FoldNorm
from asrc.passes.mask import Mask
from asrc.passes.quantize import Quantize
from asrc.passes.substitute import Substitute

HEAD = """asr 1
model m
use std.conformer (RelativeAttention, SelfAttention)
use std.conv (Subsampling4, Conv1d, Conv2d, DecayingContextBlock)
use std.rnn (Lstm, ProjectedLstm, Embed)
use std.transducer (LstmPredictor, StatelessPredictor, Joint)
input audio: pcm @ 8kHz
input prev: token[12]
"""

ENCODERS = {
    "lstm": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn
  out x[t-3..t] |> stride(4) |> dense(16) |> relu |> Lstm(16) |> dense(12)""",
    "planes": """
  x = audio |> logmel(bins=16, window=25ms, hop=10ms) |> cmvn |> Subsampling4(16, channels=4)
  out x |> layernorm |> residual { Lstm(16) |> dropout(0.1) } |> layernorm |> dense(12)""",
    "ahead": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn |> Conv1d(16, stride=2) |> swish
  u = x |> dense(32) |> glu
  y = u[t-2..t+3] |> depthwise |> layernorm |> swish |> dense(16)
  z = concat(x + y, x[t-1]) |> ProjectedLstm(16, 8)
  out z[t+1] |> tanh |> dense(12)""",
    "ends in a norm": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn |> stride(4)
  out x |> dense(12) |> Lstm(12) |> layernorm""",
    "ends in a state": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn
  out x |> stride(4) |> Lstm(12)""",
    "ends in a shift": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn |> stride(4) |> Lstm(12)
  out x[t+2]""",
    "two rates": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn |> Conv1d(16, stride=2) |> swish
  slow = x |> stride(2) |> dense(16)
  out x + (slow |> upsample(2)) |> dense(12)""",
    "turns": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn
  y = x[t-2..t] |> stride(2) |> Lstm(12) |> layernorm
  out y[t-1..t] |> stride(2) |> Lstm(12)""",
    "pairs": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn |> stride(4) |> dense(24)
  a, b, c = x |> split(3)
  y = concat((a |> sigmoid) * b, (b |> tanh) - c, (c + a) |> relu) |> layernorm |> dense(24) |> glu
  out dense(12)((c + c) |> relu, y |> batchnorm |> swish)""",
    "attention": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn |> stride(2) |> dense(16)
  y = x |> residual { layernorm |> RelativeAttention(16, 2) } |> layernorm
  out y |> residual(0.5) { layernorm |> SelfAttention(16, 4) } |> dense(12)""",
    "convolutions": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn
  y = x[t-1..t] |> stride(2) |> flatten |> Conv2d(4, kernel=3) |> relu |> flatten |> dense(16)
  z = y |> DecayingContextBlock(16, dilation=2, reduction=4, keep=0.9)
  out dense(16)(y, z) |> Lstm(12) |> dense(12)""",
    "gaps": """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn |> dense(16)
  fast = x |> stride(2) |> dense(16)
  wide = fast[t-4..t by 2] |> dense(16) |> stride(2) |> glu
  far = x[t-6..t by 3] |> stride(4) |> dense(8) |> upsample(2)
  out concat(wide |> upsample(2), far) |> dense(12)""",
}


ONE_LAYER = """
  x = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn |> stride(4) |> dense(16)
  out x |> residual { layernorm |> RelativeAttention(16, 2) } |> dense(12)"""

ENCODERS |= {"attention to the past": ONE_LAYER, "attention around": ONE_LAYER}

MASKS = {
    "attention": Mask("encoder", chunk=Quantity(Fraction(80, 1000), "time"), left=6),
    "attention to the past": Mask("encoder", "causal", left=5),
    "attention around": Mask("encoder", left=4, right=2),
}


def source(encoder: str, predictor: str = "LstmPredictor(12, 16, width=8)") -> str:
    return (
        f"{HEAD}net encoder(audio) {{ {ENCODERS[encoder]} }}\n"
        f"net predictor(prev) {{ out prev |> {predictor} }}\n"
        "net joint(e=encoder, p=predictor) { out Joint(e, p, 13) }\n"
    )


@cache
def facts(encoder: str, predictor: str = "LstmPredictor(12, 16, width=8)") -> Facts:
    model = read_model(Source("m.asr", source(encoder, predictor)), {})
    assert model.facts is not None, model.diagnostics
    if encoder not in MASKS:
        return model.facts
    graph, _ = MASKS[encoder].run(model.facts.graph, None)
    return Facts(graph)


@cache
def weights(encoder: str, predictor: str = "LstmPredictor(12, 16, width=8)") -> Mapping[str, Array]:
    lowered = Lowered(facts(encoder, predictor))
    initialise(lowered, seed=5)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in lowered.tensors().values():
            if tensor.ndim == 1 and tensor.is_floating_point():
                tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    return {name: x.detach().numpy() for name, x in lowered.tensors().items()}


def utterance(seed: int, seconds: float = 0.7) -> dict[str, Array]:
    chance = np.random.default_rng(seed)
    samples = chance.standard_normal((round(8000 * seconds), 1)) * chance.uniform(0.01, 0.5)
    labels = np.array([0, *chance.integers(1, 12, 5)])
    return {"audio": samples.astype(np.float32), "prev": labels}


def ends(graph_facts: Facts) -> Ends:
    graph = graph_facts.graph
    return Ends(graph.outputs["encoder"], graph.outputs["predictor"], graph.outputs["joint"])


@cache
def programs(encoder: str, predictor: str = "LstmPredictor(12, 16, width=8)") -> Programs:
    found, numbers = quantised(encoder, predictor)
    return compile_transducer(found, ends(found), numbers)


@cache
def quantised(
    encoder: str,
    predictor: str = "LstmPredictor(12, 16, width=8)",
    bits: int = 8,
    per: str = "row",
    scales: str = "frozen",
) -> tuple[Facts, Mapping[str, Array]]:
    """The model after `substitute` and `quantize`, its weights with ranges, scales, codebooks."""
    numbers: Weights | None = weights(encoder, predictor)
    graph = facts(encoder, predictor).graph
    narrow = Quantize(weights=bits, per=per, scales=scales)
    for each in (FoldNorm("batchnorm"), Substitute(), narrow):
        graph, numbers = each.run(graph, numbers)
    assert numbers is not None
    found = Facts(graph)
    return found, calibrated(found, numbers, [utterance(seed) for seed in range(3)])
