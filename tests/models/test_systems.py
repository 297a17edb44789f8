"""The language says every system's architecture: each construct in a model of the zoo, by hand.

Each test names a construct that a system needs, and compares types, look-ahead, parameters, state
and cost with arithmetic that is written out here. The papers' notes give the numbers where they
have any; the zoo's other sizes are ours.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from asrc.compiler.select import select_blocks

from .helpers import codes, load, system

STREAM = "input x: [8] @ 10ms\n"


def lstm(inputs: int, n: int) -> int:
    return 4 * n * (inputs + n + 1)


def dense(inputs: int, n: int) -> int:
    return n * (inputs + 1)


# --- what the quantisers and the adapters work on -------------------------------------------------


def test_the_recogniser_of_the_quantisers_runs_at_two_speeds() -> None:
    """S8BQAT, GQ and the NNA's operators: an LSTM transducer (sizes of the language's study)."""
    model, cell = load("rnnt"), 768
    assert [model.type(f"encoder.{x}") for x in ("x", "y")] == ["[64; 3] @ 30ms", "[768; 2] @ 60ms"]
    assert model.type("encoder") == "[640] @ 60ms"
    assert model.ms("encoder") == 15
    low = lstm(3 * 64, cell) + lstm(cell, cell)
    high = lstm(2 * cell, cell) + 3 * lstm(cell, cell)
    assert model.params("encoder") == low + high + dense(cell, 640)
    assert model.held("encoder", "recurrent") == 6 * 2 * cell  # h and c
    assert model.held("encoder", "history") == cell + 2 * 64  # a slow frame's first half, the mel
    assert model.held("audio") == 240  # 15 ms


def test_adapters_find_every_ffn_of_the_conformer() -> None:
    model = load("conformer_transducer")
    blocks = select_blocks(model.graph, "encoder.body.*", "Ffn")
    assert len(blocks) == 12 * 2
    assert {model.params(path) for path in blocks} == {512 + dense(256, 1024) + dense(1024, 256)}


# --- far field: several channels, a frequency LSTM, a CNN -----------------------------------------


def test_a_frequency_lstm_runs_along_bands_and_looks_no_frame_ahead() -> None:
    fusion = load("fusion_flstm")
    steps, inputs, hidden = 4, 3 * 24, 64
    assert fusion.type("encoder.features") == "[3, 64] @ 10ms"
    assert fusion.type("encoder.fused") == "[64] @ 10ms"
    assert fusion.ms("encoder.fused") == 15  # what the log-mel window looks ahead
    view, out = 2 * lstm(inputs, hidden), dense(steps * 2 * hidden, 64)
    gain = 64
    assert fusion.params("encoder.fused") == view + out + gain
    # 70.7 k in the notes, which count two biases for each gate.
    assert view + 2 * 4 * hidden == 2 * 4 * (inputs * 64 + 64 * 64 + 2 * 64) == 70_656
    products = steps * 2 * 4 * hidden * (inputs + hidden) + steps * 2 * hidden * 64
    assert fusion.per_second("encoder.fused") == 100 * products


def test_several_views_of_the_bands_are_several_blocks() -> None:
    fusion = load("fusion_multiview")
    near = 2 * lstm(72, 64) + 2 * lstm(128, 64)
    far = 2 * lstm(144, 64) + 2 * lstm(128, 64)
    out = dense((4 + 2) * 128, 64)
    assert fusion.params("encoder.fused") == near + far + out + 64
    assert 0.42e6 < near + far + out < 0.43e6  # the notes: about 0.43 M with twice the biases


def test_channels_are_planes_of_a_two_dimensional_convolution() -> None:
    first, second, last = 3 * 32 * 9 + 32, 32 * 32 * 9 + 32, 32 + 1
    plane = load("fusion_cnn")
    assert plane.type("encoder.fused") == "[64] @ 10ms"
    assert plane.params("encoder.fused") == first + second + last  # about 10 k in the notes
    flat = load("fusion_cnn_flat")
    assert flat.type("encoder.fused") == "[512] @ 10ms"
    assert flat.params("encoder.fused") == first + second + dense(32 * 64, 512)  # 1.06 M
    for fusion in (plane, flat):
        assert fusion.params("encoder.fused") <= 0.02 * fusion.params("*")


# --- ConvRNN-T: convolution over time and bands, running squeeze and excitation -------------------


@pytest.mark.parametrize(
    ("bins", "stack", "local", "encoder", "frame"),
    [(64, 1, 2.6, 30.7, 63), (80, 1, 3.1, 31.3, 72), (64, 3, 6.8, 34.9, 133)],
)
def test_convolution_over_time_and_bands(
    bins: int, stack: int, local: float, encoder: float, frame: int
) -> None:
    """The table of the notes, for 64, 80 and 192 bands: millions of parameters and of MACs."""
    model = load("convrnnt", bins=bins, stack=stack)
    bands, rate = bins * stack, Fraction(100, stack)
    assert model.type("encoder.near") == f"[64, {bands}] @ {10 * stack}ms"
    weights = 25 * (1 * 100 + 100 * 100 + 100 * 64 + 64 * 64)
    assert model.params("encoder.near") == weights + 100 + 100 + 64 + 64
    assert model.per_second("encoder.near") == rate * weights * bands
    assert model.held("encoder.near") == 4 * bands * (100 + 100 + 64)
    near = model.params("encoder.near") + model.params("encoder.local")
    assert near / 1e6 == pytest.approx(local, abs=0.051)
    assert model.params("encoder") / 1e6 == pytest.approx(encoder, abs=0.051)
    assert float(model.per_second("encoder") / rate) / 1e6 == pytest.approx(frame, abs=0.51)
    assert model.ms("encoder") == 15


def test_squeeze_and_excitation_runs_with_the_mean_so_far() -> None:
    model = load("convrnnt")
    gate = "encoder.global.1.gated.SqueezeExcite"
    assert model.params(gate) == dense(512, 32) + dense(32, 512)
    assert model.held(gate, "recurrent") == 512 + 1  # a sum and a count
    dilated = sum(2 * 2**b * 2 * 512 for b in range(1, 7))
    assert model.held("encoder.global") == dilated + 6 * (512 + 1)


def test_the_mean_of_the_whole_utterance_is_refused_under_a_budget() -> None:
    text = STREAM + "net n(x) {{ out x * (x |> {}) }}\nrequire lookahead(n) <= 100ms"
    assert codes("use std.conv (RunningMean)\n" + text.format("RunningMean")) == []
    assert "E0303" in codes(text.format("mean"))


def test_a_one_dimensional_local_encoder_is_dense_over_a_window() -> None:
    model = load("convrnnt_1d")
    assert model.params("encoder.local") == dense(5 * 240, 512) + 3 * dense(5 * 512, 512)
    assert model.per_second("encoder") < load("convrnnt").per_second("encoder") / 4


# --- contextual biasing: a catalogue of phrases ---------------------------------------------------


def test_every_phrase_has_its_own_bidirectional_lstm() -> None:
    biasing = load("biasing")
    subword = "sounds.subwords.PhraseEncoder"
    assert biasing.type(f"{subword}.e") == "[64] over pieces(16), phrases(300)"
    assert biasing.type(f"{subword}.backward") == "[64] over phrases(300)"
    assert biasing.type("sounds.subwords") == "[64] over phrases(301)"  # and `no bias`
    assert biasing.type("sounds") == "[128] over phrases(301)"
    assert biasing.params(subword) == 1024 * 64 + 2 * lstm(64, 64) + dense(128, 64) + 64
    assert biasing.params("sounds.characters") == 32 * 32 + 2 * lstm(32, 64) + dense(128, 64) + 64
    steps = 16 * 300
    products = steps * 2 * 4 * 64 * (64 + 64) + 300 * 128 * 64
    assert biasing.cost(subword).worst.utterance == products  # once, not for each frame
    assert biasing.per_second("sounds") == 0


def test_frames_attend_to_the_catalogue_with_cached_keys() -> None:
    biasing = load("biasing").after("stream")
    bias = "encoder.Bias"
    assert biasing.type("encoder") == "[512] @ 40ms"
    assert biasing.ms("encoder") == biasing.ms("encoder.body") == 295  # the catalogue adds none
    assert biasing.params(bias) == 512 * 64 + 2 * 128 * 64 + dense(64, 512)
    assert biasing.per_second(bias) == 25 * (512 * 64 + 301 * 2 * 64 + 64 * 512)
    assert biasing.cost(bias).worst.utterance == 2 * 301 * 128 * 64
    assert biasing.facts.cached[f"{bias}.k.dense"] == 301 * 64


def test_cached_vectors_of_a_text_encoder_bias_the_predictor() -> None:
    biasing = load("biasing")
    bias = "predictor.GuidedBias"
    assert biasing.type("vectors") == "[768] over phrases(300)"
    assert biasing.type("history") == "[768] @ label"
    assert biasing.type("predictor") == "[512] @ label"
    assert biasing.params("meanings") == dense(768, 64) + 64
    query = (512 + 768) * 64
    assert biasing.params(bias) == query + 2 * 64 * 64 + dense(64, 512)
    assert biasing.cost(bias).worst.label == query + 301 * 2 * 64 + 64 * 512


def test_the_joint_can_ask_the_catalogue_for_every_frame_and_label() -> None:
    biasing = load("biasing_joint")
    assert biasing.type("joint.Bias.out") == "[512] @ 40ms x label"
    assert biasing.cost("joint.Bias").worst.joint == 512 * 64 + 301 * 2 * 64 + 64 * 512


def test_a_model_has_inputs_on_all_clocks() -> None:
    biasing = load("biasing")
    inputs = {n.path: biasing.type(n.path) for n in biasing.graph if n.op == "input"}
    assert inputs == {
        "audio": "[1] @ 16kHz",
        "prev": "token[1024] @ label",
        "pieces": "token[1024] over pieces(16), phrases(300)",
        "letters": "token[32] over chars(40), phrases(300)",
        "vectors": "[768] over phrases(300)",
        "history": "[768] @ label",
    }
    assert load("fusion_cnn").type("audio") == "[3] @ 16kHz"
    assert load("dual_attention").type("wake") == "flag @ 40ms"


# --- a switch for each frame ----------------------------------------------------------------------


def test_the_wake_word_switches_between_two_attentions() -> None:
    """FLOPs of a frame in the notes: 4 d_e d_a + 4 K d_a, two a MAC; 37 % saved, keys cached."""
    dual = load("dual_attention")
    on, off = dual.cost("encoder.switch.on").worst, dual.cost("encoder.switch.off").worst

    def flops(keys: int) -> int:
        return 4 * 512 * 64 + 4 * keys * 64

    assert (2 * on.second / 25, 2 * off.second / 25) == (flops(2), flops(300))
    assert 1 - on.second / off.second == pytest.approx(0.37, abs=0.005)
    both = dual.cost("encoder.switch")
    assert (both.best.second, both.worst.second) == (on.second, off.second)
    branch = dual.params("encoder.switch.on")
    assert branch == 2 * 512 * 64 + 2 * 64 * 64 + 512  # 74 k in the notes, without the bias
    assert dual.params("spoken") + branch < 0.01 * dual.params("*")


def test_branches_of_a_switch_keep_their_own_state_or_share_one() -> None:
    own = load("bifocal")
    assert own.held("encoder.body", "recurrent") == 5 * 2 * 256 + 5 * 2 * 1024
    assert own.cost("encoder.body").best.second < own.cost("encoder.body").worst.second / 10
    shared = load("amnets")
    assert shared.held("encoder.body", "recurrent") == 5 * 2 * 1024
    layer = "encoder.body.2"
    full, cheap = 4 * 1024 * 2048, 128 * 2048 + 4 * 1024 * 128
    cost = shared.cost(layer)
    assert (cost.best.second, cost.worst.second) == tuple(
        Fraction(100, 3) * macs for macs in (cheap, full)
    )


def test_branches_of_different_width_need_a_projection() -> None:
    text = STREAM + "input g: flag @ 10ms\nnet n(x, g) {{ out x |> switch(g) {{ {} }} }}"
    assert codes(text.format("dense(4)")) == ["E0312"]
    assert codes(text.format("dense(4) |> dense(8)")) == []


# --- predictors and joints ------------------------------------------------------------------------


def test_a_stateless_predictor_holds_one_label() -> None:
    tdt = load("tdt")
    assert tdt.type("predictor") == "[256] @ label"
    assert tdt.params("predictor") == 1024 * 256 + dense(2 * 256, 256)
    assert tdt.held("predictor") == 256
    assert tdt.held("predictor", "recurrent") == 0


def test_tokens_and_durations_are_two_outputs_of_one_joint() -> None:
    tdt = load("tdt")
    assert tdt.type("joint.tokens") == "[1025] @ 80ms x label"
    assert tdt.type("joint.durations") == "[5] @ 80ms x label"
    assert tdt.params("joint") == dense(256, 1025) + dense(256, 5)
    assert tdt.ops("joint").count("log_softmax") == 2


def test_labels_attend_to_labels_before_them() -> None:
    model = load("transformer_transducer").after("causal")
    assert model.ms("predictor") == 0
    assert model.held("predictor") == 2 * 20 * (512 + 512)  # keys and values of 20 labels
    assert codes("input p: token[9]\nnet n(p) { e = p |> embed(4)\n out e[t+1] }") == ["E0307"]


# --- attention ------------------------------------------------------------------------------------


def test_relative_attention_is_spelled_out_over_dense_maps() -> None:
    model = load("conformer_transducer").after("stream")
    attention, D, keys = "encoder.body.1.Attn.RelativeAttention", 256, 64 + 8
    projections = 4 * dense(D, D) + D * D  # of positions, without bias
    assert model.params(attention) == projections + 2 * D  # the two query offsets
    frame = 4 * D * D + keys * 3 * D  # scores by content and by position, and the mixture
    assert model.per_second(attention) == 25 * frame
    assert model.held(attention) == 64 * 2 * D  # keys and values
    assert model.ms("encoder") == 295


def test_the_costs_of_a_dense_transformer_are_those_that_gates_share() -> None:
    """The notes, d = 512 and 128 frames: QKV 0.24, output 0.08, scores 0.04, Ffn 0.64 of 3.28 M."""
    model = load("amortized").after("causal")
    layer = "encoder.body.3"
    frame = model.per_second(layer) / 25
    assert float(frame) == pytest.approx(3.28e6, rel=1e-3)
    attention = [f"{layer}.SelfAttention.{part}" for part in ("q", "k", "v")]
    shares = [
        model.per_second(*attention),
        model.per_second(f"{layer}.SelfAttention.attend"),
        model.per_second(f"{layer}.SelfAttention.dense"),
        model.per_second(f"{layer}.Ffn"),
    ]
    assert [round(float(s / 25 / frame), 2) for s in shares] == [0.24, 0.04, 0.08, 0.64]


def test_look_ahead_by_layer_grows_and_by_chunk_does_not() -> None:
    """ANCAT's two usual kinds of look-ahead, and the causal model between which it moves."""
    model = load("ancat")
    found = {name: model.after(name).ms("encoder") for name in model.model.plans}
    assert found == {"offline": None, "causal": 15, "layerwise": 16 * 40 + 15, "stream": 615}


def test_the_largest_model_is_the_streaming_fast_conformer() -> None:
    model = load("conformer_large")
    D = 512
    ffn = 2 * D + dense(D, 4 * D) + dense(4 * D, D)
    attention = 2 * D + 4 * dense(D, D) + D * D + 2 * D
    convolution = 2 * D + dense(D, 2 * D) + 10 * D + 2 * D + dense(D, D)
    layer = 2 * ffn + attention + convolution + 2 * D
    assert model.params("encoder.body.17") == layer
    assert 113e6 < model.params("*") < 117e6  # published: about 115 M
    assert model.after("stream").ms("encoder") == 13 * 80 + 15


# --- several rates, shared parameters -------------------------------------------------------------


def test_stacks_run_at_their_own_rates_and_come_back() -> None:
    model = load("zipformer").after("stream")
    periods = {"a": 20, "b": 40, "c": 80, "d": 160, "e": 80, "f": 40}
    for stack, period in periods.items():
        slow = model.type(f"encoder.{stack}.ZipformerStack.slow")
        assert slow.endswith(f"@ {period}ms")
        assert model.type(f"encoder.{stack}").endswith("@ 20ms")
    assert model.type("encoder") == "[512] @ 40ms"
    assert model.ms("encoder") == 320 - 40 + 15


def test_repeating_a_slow_frame_costs_look_ahead() -> None:
    """Eight frames of 10ms share one of 80ms: its first one waits for the last."""
    found = system(STREAM + "net n(x) { out x |> stride(8) |> upsample(8) : [8] @ 10ms }")
    assert found.ms("n") == 70


def test_an_instance_shares_parameters_and_state_belongs_to_each_use() -> None:
    text = (
        "use std.rnn (Lstm)\ninput x: [8] @ 10ms\ninput y: [8] @ 10ms\n"
        "net n(x, y) {{\n {}\n out a + b\n}}"
    )
    shared = system(text.format("F = Lstm(4)\n a = F(x)\n b = F(y)"))
    apart = system(text.format("a = x |> Lstm(4)\n b = y |> Lstm(4)"))
    assert (shared.params("n"), apart.params("n")) == (lstm(8, 4), 2 * lstm(8, 4))
    assert shared.held("n", "recurrent") == apart.held("n", "recurrent") == 2 * 2 * 4
