"""``bench video``: one clip through a method, as films."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import common
from bench.cli.common import open_project, progress, say, show, verb
from bench.cli.edit import number
from bench.config.project import Config, parse_settings
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.data.video_files import Clip

AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class _Wish:
    """What was asked for of the clip. Args: align: a finder, ``none`` or ``auto``. smooth: in frames."""

    clip: str
    domain: str | None
    align: str
    landmarks: Path | None
    smooth: float
    fps: float | None
    limit: int | None
    out: Path | None


@verb(
    "Invert and edit a clip frame by frame: a video file, a folder of frames, or a clip of a rendered "
    "dataset. Faces are aligned the FFHQ way with smoothing over time, edited and pasted back. Films, frames and "
    "measures go to results/local/video.",
    "bench video --method hfgi --direction smile --clip annyfaces_video/03",
    "bench video --method hfgi --direction age --degree -2 --clip talk.mp4 --domain faces",
    "bench video --method e4e --direction smile --clip frames --align none --fps 12",
)
def command(
    method: common.Method,
    direction: common.Direction,
    clip: Annotated[str, typer.Option("--clip", help="Video file, folder of frames, or DATASET/CLIP.")],
    degree: common.Degree = "1.5",
    domain: Annotated[
        str | None, typer.Option("--domain", help="Of a file or folder. Default: that of the profile's dataset.")
    ] = None,
    align: Annotated[
        str, typer.Option("--align", help="mtcnn, or none for aligned frames. auto: none for datasets, else mtcnn.")
    ] = AUTO,
    landmarks: Annotated[
        Path | None, typer.Option("--landmarks", help="Your own points, .npy (frames, 68 or 5, 2) or .csv.")
    ] = None,
    smooth: Annotated[float, typer.Option("--smooth", help="Gaussian over the frames' squares, in frames.")] = 2.0,
    fps: Annotated[float | None, typer.Option("--fps", help="Default: the file's; the profile's for others.")] = None,
    settings: common.MethodOptions = None,
    ablation: common.Ablation = None,
    out: common.Out = None,
    limit: common.Limit = None,
    device: common.Device = None,
    batch_size: common.BatchSize = None,
    profile: common.ProfileName = None,
    root: common.Root = None,
) -> None:
    amount = number(degree)
    _check(smooth, fps, landmarks, align)
    config = open_project(root, profile, device=device, batch_size=batch_size, limit=limit).config
    from bench.inversion.plan import Overrides

    asked = Overrides(parse_settings(settings or []), ablation, None, None, None, batch_size, device)
    wish = _Wish(clip, domain, align, landmarks, smooth, fps, limit, out)
    edit, bridged = _prepared(config, method, direction, amount, asked, wish)
    if bridged:
        say(f"no face found in {len(bridged)} frames, taken from their neighbours: {', '.join(bridged[:8])}")
    with progress(f"video {method}", len(edit.clip.ids)) as advance:
        identity = _identity(config, edit.method.device)
        written, record = edit.run(batch_size or config.settings.batch_size, identity, advance)
    for frame, why in list(record["failures"].items())[:5]:
        say(f"frame {frame} failed: {why}")
    say(f"{method}, {direction} {amount:+g}: {record['frames'] - len(record['failures'])} frames")
    for name, value in record["means"].items():
        say(f"  {name} {value:.4f}")
    show(written, config.root)


def _check(smooth: float, fps: float | None, landmarks: Path | None, align: str) -> None:
    if not 0 <= smooth < 1000:
        raise BenchError("--smooth is out of range", got=smooth, expected="0 (none) or a number of frames")
    if fps is not None and not 0 < fps <= 240:
        raise BenchError("--fps is out of range", got=fps, expected="a number above 0, at most 240")
    if landmarks is not None and align != AUTO:
        raise BenchError("--landmarks and --align exclude each other", got=f"--align {align}", fix="drop one")


def _prepared(config: Config, method: str, direction: str, degree: float, asked: Any, wish: _Wish) -> Any:
    """(edit, bridged frames): everything looked up, checked and aligned, nothing inverted yet."""
    from bench.directions import files
    from bench.files import file_sha256
    from bench.inversion.plan import plan_run
    from bench.inversion.runner import load_method
    from bench.names import label
    from bench.video.edit_clip import VideoEdit
    from bench.weights import manifest as weights

    dataset, name = _of_dataset(config, wish.clip)
    plan = plan_run(config, method, dataset or config.settings.datasets[0], asked)
    if wish.domain and dataset:
        raise BenchError("--domain goes with a file or folder", got=wish.clip, fix="drop it")
    where = wish.domain or plan.domain
    weights.read_manifest(config.root).domain(where)
    chosen = files.find(config.root, where, direction)
    ready = load_method(config.root, method, where, plan.options, plan.device, plan.precision)
    chosen.check(ready.generator.n_latent, ready.generator.style_dim)
    done = f"{direction.replace('/', '.').replace(':', '.')}_{degree:+g}"
    out = wish.out or config.root / "results" / "local" / "video" / label(method, plan.variant) / name / done
    clip = _opened(config, wish, dataset, name, out)
    squares, bridged = _squares(config, wish, clip, ready.device)
    settings = {
        "method": method,
        "options": plan.options,
        "domain": where,
        "clip": {"name": clip.name, "ids": list(clip.ids), "size": list(clip.size)},
        "squares": None if squares is None else squares.round(4).tolist(),
        "bridged": bridged,
        "landmarks": file_sha256(wish.landmarks) if wish.landmarks else None,
        "direction": {**chosen.about, "name": chosen.name, "rule": chosen.rule},
        "degree": degree,
        "weights": plan.weights,
        "code_sha256": plan.config["code_sha256"],
    }
    return VideoEdit(ready, chosen, degree, clip, squares, config.seed, out, settings), bridged


def _of_dataset(config: Config, clip: str) -> tuple[str | None, str]:
    """(dataset, ``dataset-03``) of DATASET/CLIP; (None, name) of a path.

    Raises:
        BenchError: neither a path nor a clip.
    """
    from bench.data.manifest import dataset_ids

    path = Path(clip)
    dataset, _, number = clip.partition("/")
    if path.exists() or dataset not in dataset_ids(config.root):
        if not path.exists():
            raise BenchError(
                f"no clip {clip!r}",
                expected="a video file, a folder of frames, or DATASET/CLIP such as annyfaces_video/03",
                fix="correct --clip",
            )
        return None, path.resolve().stem
    return dataset, f"{dataset}-{number}"


def _opened(config: Config, wish: _Wish, dataset: str | None, name: str, out: Path) -> Clip:
    from bench.data import video_files
    from bench.data.dataset import PreparedDataset
    from bench.errors import UnknownName
    from bench.video.prepare import clips_of

    path = Path(wish.clip)
    if dataset is None and path.is_dir():
        return video_files.of_folder(path, wish.fps).first(wish.limit)
    if dataset is None:
        return video_files.of_file(path, out / "frames" / "source", wish.fps, wish.limit)
    prepared, number = PreparedDataset.open(config.root, dataset), wish.clip.partition("/")[2]
    clips = clips_of(prepared.manifest)
    if number not in clips:
        raise UnknownName.of(f"clip of dataset {dataset!r}", number, clips)
    side = prepared.manifest.resolution
    rate = wish.fps or (config.settings.video.fps if config.settings.video else video_files.DEFAULT_FPS)
    clip = video_files.Clip(name, tuple(clips[number]), prepared.read, (side, side), rate, aligned=True)
    return clip.first(wish.limit)


def _squares(config: Config, wish: _Wish, clip: Clip, device: Any) -> Any:
    """(squares or None, ids of bridged frames)."""
    from bench.video.face_track import load_finder, read_points, squares_of

    if wish.landmarks is not None:
        return squares_of(clip, None, read_points(wish.landmarks, len(clip.ids)), wish.smooth)
    if wish.align == NONE or (wish.align == AUTO and clip.aligned):
        return None, []
    find = load_finder(config.root, "mtcnn" if wish.align == AUTO else wish.align, device)
    return squares_of(clip, find, None, wish.smooth)


def _identity(config: Config, device: Any) -> Any:
    """(name, metric) of the profile's identity on clips; None without one, or where it lacks something."""
    from bench import registry
    from bench.scoring.build import build, lacking

    name = config.settings.video.identity if config.settings.video else ""
    if not name:
        return None
    cls = registry.metrics(config.root).load(name)
    if why := lacking(config.root, cls):
        say(f"identity drift was left out: {why}")
        return None
    return name, build(config.root, cls, device)
