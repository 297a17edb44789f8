"""`asrc train`, `eval` and `transcribe`, one after the other on three tones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from safetensors.numpy import load

from asrc.cli.language import Search
from asrc.cli.main import cli
from asrc.compiler.artefact import unpack
from asrc.compiler.irread import parse_graph
from asrc.dsl.pipelines import parse_pass_text
from asrc.runtime.compiled import compiled, needs_audio, read_compiled, with_numbers
from asrc.runtime.language import BEAM
from asrc.runtime.recogniser import Recogniser, read_recogniser
from asrc.tests.training.tiny import MODEL, corpus

RECIPE = """
[optimiser]
updates = 250
rate = 0.01
warm_up = 5
average = 0.9
[data]
seconds = 6.0
vocabulary = "words"
size = 64
[augmentation]
speeds = [1.0]
bands = 0
stretches = 0
[pace]
validate = 125
save = 50
log = 50
"""


def asrc(*args: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, list(args), input=stdin, catch_exceptions=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data/`, `tiny.asr` and `out/`."""
    folder = tmp_path_factory.mktemp("speech")
    manifest = corpus(folder / "data")
    (folder / "tiny.asr").write_text(MODEL)
    (folder / "recipe.toml").write_text(RECIPE)
    model, recipe, out = (str(folder / n) for n in ("tiny.asr", "recipe.toml", "out"))
    data = ("--train", str(manifest), "--dev", str(manifest))
    done = asrc("train", model, *data, "--out", out, "--recipe", recipe)
    assert done.exit_code == 0, done.output
    assert "train: 12 of 12 utterances" in done.stdout
    return folder


def test_eval(trained: Path) -> None:
    best, manifest = str(trained / "out/best"), str(trained / "data/all.jsonl")
    done = asrc("eval", best, manifest, "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["total"]["utterances"] == 12
    assert found["total"]["wer"] < 0.5
    streamed = json.loads(asrc("eval", best, manifest, "--json", "--stream").stdout)
    assert streamed["total"]["wer"] == found["total"]["wer"]


@pytest.mark.parametrize(("weights", "left"), [("float16", 0.75), ("int8", 0.6)])
def test_convert(trained: Path, weights: str, left: float) -> None:
    best, small = str(trained / "out/best"), str(trained / f"small-{weights}")
    manifest = str(trained / "data/all.jsonl")
    options = ("--weights", weights, "--out", small, "--json")
    done = json.loads(asrc("convert", best, *options).stdout)
    whole = sum(path.stat().st_size for path in (trained / "out/best").iterdir())
    assert done["bytes"] < left * whole
    errors = [json.loads(asrc("eval", m, manifest, "--json").stdout) for m in (best, small)]
    assert errors[1]["total"]["wer"] == errors[0]["total"]["wer"]


def test_a_weight_that_half_precision_cannot_hold(trained: Path) -> None:
    from asrc.backends.torch.weights import read_tensors, write_tensors

    shutil.copytree(trained / "out/best", trained / "large")
    tensors, notes = read_tensors(trained / "large/weights.safetensors")
    tensors["encoder.Lstm.dense.weight"][0, 0] = 1e9
    write_tensors(trained / "large/weights.safetensors", tensors, notes)
    done = asrc("convert", str(trained / "large"), "--out", str(trained / "none"))
    assert done.exit_code == 1
    assert "`encoder.Lstm.dense.weight` has a number that float16 cannot hold" in done.stderr
    kept = asrc(
        "convert", str(trained / "large"), "--out", str(trained / "b"), "--weights=bfloat16"
    )
    assert kept.exit_code == 0


def test_a_page(trained: Path) -> None:
    page = trained / "page.html"
    best, manifest = str(trained / "out/best"), str(trained / "data/all.jsonl")
    assert asrc("eval", best, manifest, "--page", str(page)).exit_code == 0
    assert "<audio" in page.read_text()


def test_transcribe(trained: Path) -> None:
    best, one = str(trained / "out/best"), str(trained / "data/0.wav")
    done = asrc("transcribe", best, one, "--times")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{one}: ")
    assert "real-time factor" in done.stderr
    assert "look-ahead 15ms" in done.stderr


def test_raw_samples(trained: Path) -> None:
    import soundfile

    samples, _ = soundfile.read(trained / "data/0.wav", dtype="int16")
    best, one = str(trained / "out/best"), str(trained / "data/0.wav")
    heard = json.loads(asrc("transcribe", best, "-", "--json", stdin=samples.tobytes()).stdout)
    assert heard["text"] == json.loads(asrc("transcribe", best, one, "--json").stdout)["text"]


def test_nbest(trained: Path) -> None:
    best, one = str(trained / "out/best"), str(trained / "data/1.wav")
    found = json.loads(asrc("transcribe", best, one, "--nbest", "3", "--json").stdout)
    scores = [h["score"] for h in found["nbest"]]
    assert scores == sorted(scores, reverse=True)


def test_only_the_words_of_some_sentences(trained: Path) -> None:
    best, manifest = str(trained / "out/best"), str(trained / "data/all.jsonl")
    lines = trained / "lines.txt"
    lines.write_text("low high\nhigh\n")
    done = asrc("transcribe", best, *map(str, sorted((trained / "data").glob("*.wav"))), "--plain",
                "--sentences", str(lines), "--beam", "4")  # fmt: skip
    assert done.exit_code == 0
    heard = [line.split(": ")[1].split() for line in done.stdout.splitlines()]
    assert len(heard) == 12
    assert {word for words in heard for word in words} == {"low", "high"}
    scored = asrc("eval", best, manifest, "--stream", "--sentences", str(lines), "--json")
    assert json.loads(scored.stdout)["total"]["utterances"] == 12
    assert asrc("eval", best, manifest, "--sentences", str(lines)).exit_code == 2
    lines.write_text("loud\n")
    done = asrc("transcribe", best, str(trained / "data/0.wav"), "--sentences", str(lines))
    assert (done.exit_code, "E1004" in done.stderr) == (1, True)


def test_how_much_the_sentences_count(trained: Path) -> None:
    """A label that earns much is heard again and again; one that costs much, never."""
    best, one = str(trained / "out/best"), str(trained / "data/1.wav")
    lines = trained / "lines.txt"
    lines.write_text("low high\nhigh\n")
    words = {}
    for bonus in ("-20", "0", "9"):
        done = asrc("transcribe", best, one, "--sentences", str(lines), "--bonus", bonus, "--plain")
        assert done.exit_code == 0, done.output
        words[bonus] = len(done.stdout.splitlines()[0].split(": ")[1].split())
    assert words["-20"] == 0 < words["0"] < words["9"]
    for wrong in (["--bonus", "nan"], ["--weight", "-1"]):
        assert asrc("transcribe", best, one, "--sentences", str(lines), *wrong).exit_code == 2
    assert asrc("transcribe", best, one, "--weight", "1").exit_code == 2
    assert (Search(None, lines, 0, 0).beam, Search(4, lines, 0, 0).beam) == (BEAM, 4)
    assert Search(None, None, None, None).beam == 1


def test_codebooks_for_a_coded_stream(trained: Path) -> None:
    """`--coded` makes the weights' indices shorter, as `asrc size` counts them."""
    best, manifest, bytes_of = str(trained / "out/best"), str(trained / "data/all.jsonl"), []
    options = ("--target", "nna", "--calibrate", manifest, "--utterances", "4", "--weights", "4")
    for more in ([], ["--coded", "2.5"]):
        out = trained / "coded.asrc"
        done = asrc("compile", best, *options, *more, "--out", str(out))
        assert done.exit_code == 0, done.output
        programs = json.loads(asrc("size", str(out), "--json").stdout)["programs"]
        bytes_of.append(sum(size["coded"] for size in programs.values()))
        weights = sum(size["weights"] for size in programs.values())
    assert bytes_of[1] <= 2.5 * weights / 8 + 64 < bytes_of[0]
    for wrong in ("0.4", "5", "nan"):
        done = asrc("compile", best, *options, "--coded", wrong, "--out", str(out))
        assert (done.exit_code, "--coded" in done.output) == (2, True)
    nowhere = asrc("compile", best, *options, "--optimise", "size", "--out", str(out))
    assert (nowhere.exit_code, "--machine" in nowhere.output) == (2, True)
    triton = ("compile", best, "--target", "triton", "--weights", "4", "--coded", "3")
    assert asrc(*triton, "--out", str(out)).exit_code == 2


def test_compiled_for_an_accelerator(trained: Path) -> None:
    best, manifest = str(trained / "out/best"), str(trained / "data/all.jsonl")
    out = trained / "tiny.asrc"
    options = ("--target", "nna", "--calibrate", manifest, "--utterances", "6")
    done = asrc("compile", best, *options, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert f"{out}: {out.stat().st_size:,} bytes" in done.stdout
    for at_host in ("encoder.mel.logmel", "encoder.mel.cmvn to int8", "arg-max", "beam search"):
        assert f"\n{at_host}  " in done.stdout
    figures = json.loads(asrc("compile", best, *options, "--out", str(out), "--json").stdout)
    assert figures["encoder"]["state"] == 24 + 2 * 24
    assert figures["seconds"].keys() == {"calibration", "programs", "machines"}
    assert 0 < figures["seconds"]["calibration"]
    assert figures["seconds"]["machines"] == {}
    check_manifest(json.loads(unpack(out.read_bytes(), "a")["manifest.json"]))
    plain, compiled = (
        json.loads(asrc("eval", model, manifest, "--json").stdout)["total"]["wer"]
        for model in (best, str(out))
    )
    assert compiled <= plain + 5
    heard = asrc("transcribe", str(out), str(trained / "data/0.wav"), "--plain")
    assert heard.exit_code == 0
    out.write_bytes(out.read_bytes()[:-1])
    damaged = asrc("transcribe", str(out), str(trained / "data/0.wav"))
    assert (damaged.exit_code, "E1201" in damaged.stderr) == (1, True)


def check_manifest(manifest: dict[str, Any]) -> None:
    """Who makes what, in which format it comes, and how it was compiled."""
    features = manifest["features"]
    beside = {"arg-max", "beam search", f"{features} to int8"}
    assert {"audio", "prev", features} | beside <= manifest["host"].keys()
    assert all(manifest["host"].values())
    assert manifest["asrc"]
    assert manifest["options"] == {"weights": 8, "coded": None, "passes": ""}
    for name, ends in manifest["programs"].items():
        states = manifest["states"][name]
        assert states.keys() <= ends["inputs"].keys()
        assert {plain["next"] for plain in states.values()} <= ends["outputs"].keys()
        assert all(type(x["zero"]) is int for x in (*states.values(), *ends["inputs"].values()))
    assert features in manifest["programs"]["encoder"]["inputs"]
    assert "machines" not in manifest


def test_compiled_for_machines(trained: Path) -> None:
    """Estimates, what each machine is, the time of each compiler; times change no other byte."""
    best, manifest = str(trained / "out/best"), str(trained / "data/all.jsonl")
    out, mine = trained / "machines.asrc", trained / "generic-8bit.toml"
    options = ("--target", "nna", "--calibrate", manifest, "--utterances", "2", "--out", str(out))
    on = ("--machine", "ethos-u55-256", "--machine", "generic-8bit", "--optimise", "size")
    done = asrc("compile", best, *options, *on, "--plain")
    assert done.exit_code == 0, done.output
    first = unpack(out.read_bytes(), "a")
    for shown in ("\tof flash\tof DRAM\t", "codebooks and programs\tasrc\t", "from rates alone"):
        assert shown in done.stdout
    assert "\nethos-u55-256\tVela\t" in done.stdout
    found = json.loads(asrc("compile", best, *options, *on, "--json").stdout)
    second = unpack(out.read_bytes(), "a")
    assert {name for name in first if first[name] != second[name]} <= {"estimates.json"}
    assert found["seconds"]["machines"].keys() == {"ethos-u55-256"}
    for estimate in found["estimates"]["ethos-u55-256"].values():
        assert estimate["flash"] >= estimate["stream"]
        assert estimate["dram"] == 0
    machines = json.loads(second["manifest.json"])["machines"]
    assert machines["ethos-u55-256"]["optimise"] == "Size"
    assert machines["ethos-u55-256"]["by"].startswith("Vela ")
    assert machines["generic-8bit"]["rates"]["clock"] == 500e6
    mine.write_text("")
    wrong = asrc("compile", best, *options, "--machine", str(mine))
    assert (wrong.exit_code, "E0702" in wrong.stderr) == (1, True)
    check_old(second, out)


def check_old(parts: dict[str, bytes], path: Path) -> None:
    """An artefact of before flash and DRAM is read."""
    estimates = json.loads(parts["estimates.json"])
    for estimate in (e for of in estimates.values() for e in of.values()):
        del estimate["flash"], estimate["dram"]
    found = read_compiled(path, parts | {"estimates.json": json.dumps(estimates).encode()})
    assert {e.flash for of in found.estimates.values() for e in of.values()} == {None}


def test_passes_say_what_is_quantised(trained: Path) -> None:
    """Some weights in fewer bits than others, after the training."""
    best, manifest = str(trained / "out/best"), str(trained / "data/all.jsonl")
    out = trained / "mixed.asrc"
    options = ("--target", "nna", "--calibrate", manifest, "--utterances", "2", "--out", str(out))
    passes = "quantize(encoder, weights=4), quantize(joint, weights=3)"
    done = asrc("compile", best, *options, "--passes", passes)
    assert done.exit_code == 0, done.output
    parts = unpack(out.read_bytes(), "a")
    books = {n: len(x) for n, x in load(parts["numbers.safetensors"]).items() if "codebook" in n}
    assert {size for name, size in books.items() if name.startswith("encoder.")} == {16}
    assert books.pop("joint.out.dense.codebook") == 8
    assert not any(name.startswith("predictor.") for name in books)  # 8 bits have none
    assert json.loads(parts["manifest.json"])["options"]["passes"] == passes
    recogniser, numbers = read_recogniser(Path(best)), load(parts["numbers.safetensors"])
    graph = parse_graph(parts["model.asrir"].decode(), "model.asrir")
    again = replace(recogniser, lowered=with_numbers(recogniser, 8, numbers, graph))
    check_passes_after_quantising(again, numbers)
    for wrong in (["--weights", "4"], ["--coded", "3"]):
        assert asrc("compile", best, *options, "--passes", passes, *wrong).exit_code == 2
    triton = ("compile", best, "--target", "triton", "--passes", passes, "--out", str(out))
    assert asrc(*triton).exit_code == 2
    wrong = asrc("compile", best, *options, "--passes", "quantise(encoder)")
    assert (wrong.exit_code, "E0804" in wrong.stderr) == (1, True)


def check_passes_after_quantising(model: Recogniser, before: dict[str, NDArray[Any]]) -> None:
    """A model that was trained in integers keeps what the passes do not speak of, to the byte."""
    calls = parse_pass_text("quantize(encoder, weights=2)")
    assert not needs_audio(model, 8, calls)
    after = load(compiled(model, [], passes=calls)["numbers.safetensors"])
    assert after.keys() == before.keys()
    books = {name: len(x) for name, x in after.items() if name.endswith(".codebook")}
    assert {size for name, size in books.items() if name.startswith("encoder.")} == {4}
    assert books["joint.out.dense.codebook"] == 8
    fitted = {n for n in books if n.startswith("encoder.")}
    fitted |= {n.replace(".codebook", ".scale") for n in fitted}
    assert all(np.array_equal(after[name], before[name]) for name in after.keys() - fitted)


def test_a_file_is_no_trained_model(trained: Path) -> None:
    model = str(trained / "tiny.asr")
    for target in ("nna", "triton"):
        done = asrc("compile", model, "--target", target, "--out", str(trained / "none.asrc"))
        assert done.exit_code == 3
        assert "is a file; what is compiled is a folder with weights" in done.stderr
        assert f"`asrc train {model} --train" in done.stderr


def test_one_broken_file_does_not_stop_the_others(trained: Path) -> None:
    (trained / "broken.wav").write_bytes(b"RIFF")
    best, one = str(trained / "out/best"), str(trained / "data/0.wav")
    done = asrc("transcribe", best, str(trained / "broken.wav"), one)
    assert done.exit_code == 1
    assert "error[E1001]" in done.stderr
    assert done.stdout.startswith(f"{one}: ")


def test_nothing_to_hear(trained: Path) -> None:
    assert asrc("transcribe", str(trained / "out/best")).exit_code == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[optimiser]\nrat = 1.0", "did you mean `rate`"),
        ("[optimiser]\nupdates = 0", "must be above 0"),
        ("[data]\nseconds = 'long'", "cannot be 'long'"),
        ("seed = [", "no TOML"),
        ("precision = 'float8'", "float8"),
    ],
)
def test_recipes_that_are_wrong(trained: Path, text: str, says: str) -> None:
    (trained / "wrong.toml").write_text(text)
    data = ("--train", str(trained / "data/all.jsonl"), "--out", str(trained / "other"))
    model, recipe = str(trained / "tiny.asr"), str(trained / "wrong.toml")
    done = asrc("train", model, *data, "--recipe", recipe)
    assert done.exit_code == 1
    assert "error[E1008]" in done.stderr
    assert says in done.stderr
    assert not (trained / "other").exists()


def test_an_output_that_cannot_be_written(trained: Path) -> None:
    (trained / "file").write_text("")
    data = ("--train", str(trained / "data/all.jsonl"), "--out", str(trained / "file/out"))
    done = asrc("train", str(trained / "tiny.asr"), *data, "--recipe", str(trained / "recipe.toml"))
    assert done.exit_code == 3
    assert "error[E0008]" in done.stderr
