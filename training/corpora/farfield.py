"""The corpus "farfield": another corpus heard across rooms, by several microphones.

A loudspeaker elsewhere in the room plays babble or music. The dry corpus is built beside it;
sets, sentences and speakers are those of the dry corpus.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from ...runtime.audio import read_audio
from ...runtime.samples import Samples
from ..manifest import Json, Utterance, read_manifest, write_manifest
from . import asterisk, prompts, rooms, store, talkie
from .clips import at_rate, flac
from .licences import write_licences
from .packages import Shelf
from .sources import changed
from .treatment import limited

Builder = Callable[[Path, Shelf], None]

_DRY: dict[str, tuple[Builder, int, tuple[str, ...]]] = {
    "prompts": (prompts.build, prompts.RATE, prompts.PACKAGES),
    "talkie": (talkie.build, talkie.RATE, talkie.PACKAGES),
}
CORPORA = tuple(_DRY)

_MUSIC = "asterisk-moh-opsound-g722"
_TRACKS = "usr/share/asterisk/moh"
_TALKERS = 5
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Options:
    """`corpus` is heard by `microphones`; the interference lies `snr` dB (from, to) below it."""

    corpus: str = "prompts"
    microphones: int = 4
    snr: tuple[float, float] = (5.0, 20.0)
    seed: int = 0
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Scene:
    """One utterance in a room. `others` are the files of babble, or one track of music."""

    name: str
    audio: str
    rate: int
    microphones: int
    room: int
    snr: float
    interference: str
    others: tuple[str, ...]
    seed: int


def build(out: Path, shelf: Shelf, options: Options, report: store.Report | None = None) -> None:
    """Write the manifests of the dry corpus below `out/dry`, the same heard afar below `out`.

    FLAC with a channel a microphone, at the rate of the dry corpus. Files of an earlier run with
    the same scene are kept. Raises AsrcError E1003 where a package is missing or changed, E0008
    where a file cannot be written.
    """
    build_dry, rate, packages = _DRY[options.corpus]
    build_dry(out / "dry", shelf)
    tracks = _tracks(shelf)
    talkers = [one.audio for one in read_manifest(out / "dry/train.jsonl")]
    draw = partial(_scene, options, rate, [*map(str, tracks)], [*map(str, talkers)])
    manifests = sorted((out / "dry").glob("*.jsonl"))
    for manifest in manifests:
        utterances = read_manifest(manifest)
        scenes = [draw(one) for one in utterances]
        folder = out / "audio"
        store.make_all(scenes, partial(_path, folder), _heard, jobs=options.jobs, report=report)
        afar = [_afar(folder, *both) for both in zip(utterances, scenes, strict=True)]
        write_manifest(out / manifest.name, afar)
    write_licences(out, "farfield", (*packages, _MUSIC))


def _tracks(shelf: Shelf) -> list[Path]:
    folder = shelf.file(_MUSIC, _TRACKS)
    found = sorted(folder.glob("*.g722"))
    if not found:
        raise changed(folder, "it should hold music, G.722 at 16 kHz")
    return found


def _scene(
    options: Options, rate: int, tracks: Sequence[str], talkers: Sequence[str], one: Utterance
) -> Scene:
    rng = np.random.default_rng([options.seed, *one.id.encode()])
    music = rng.random() < 0.5
    chosen = rng.integers(len(tracks if music else talkers), size=1 if music else _TALKERS)
    return Scene(
        name=one.id,
        audio=str(one.audio),
        rate=rate,
        microphones=options.microphones,
        room=int(rng.integers(rooms.ROOMS)),
        snr=round(float(rng.uniform(*options.snr)), 1),
        interference="music" if music else "babble",
        others=tuple((tracks if music else talkers)[at] for at in chosen),
        seed=options.seed,
    )


def _path(folder: Path, scene: Scene) -> Path:
    """Named by all that decides the samples but the places of files."""
    known = replace(scene, audio="", others=tuple(Path(other).name for other in scene.others))
    text = json.dumps([asdict(known), _FORMAT, rooms.method()])
    return folder / f"{scene.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.flac"


def _heard(scene: Scene) -> bytes:
    voice = read_audio(scene.audio, scene.rate)
    rng = np.random.default_rng([scene.seed, 1, *scene.name.encode()])
    noise = _interference(scene, rng, len(voice))
    responses = rooms.impulse_responses(
        scene.seed, scene.room, scene.rate, microphones=scene.microphones, sources=2
    )
    near = np.stack([rooms.convolved(voice, response) for response in responses[0]])
    far = np.stack([rooms.convolved(noise, response) for response in responses[1]])
    gain = _level(near[0]) / max(_level(far[0]), 1e-9) * 10 ** (-scene.snr / 20)
    return flac(limited(near + gain * far), scene.rate)


def _level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _interference(scene: Scene, rng: np.random.Generator, length: int) -> Samples:
    """`[length]`: a stretch of music, or of several recordings at once."""
    if scene.interference == "music":
        return _stretch(_track(scene.others[0], scene.rate), rng, length)
    talkers = [read_audio(other, scene.rate) for other in scene.others]
    parts = [_stretch(talker, rng, length) / max(_level(talker), 1e-9) for talker in talkers]
    return np.asarray(sum(parts), np.float32)


def _stretch(samples: Samples, rng: np.random.Generator, length: int) -> Samples:
    """From a place drawn at random on, and again from the start where it ends."""
    return np.resize(np.roll(samples, -int(rng.integers(len(samples)))), length)


@cache
def _track(path: str, rate: int) -> Samples:
    return at_rate(asterisk.read_g722(Path(path)), asterisk.RATE, rate)


def _afar(folder: Path, one: Utterance, scene: Scene) -> Utterance:
    added: dict[str, Json] = {
        "room": scene.room,
        "snr": scene.snr,
        "interference": scene.interference,
        "microphones": scene.microphones,
    }
    return replace(one, audio=_path(folder, scene), extra={**one.extra, **added})
