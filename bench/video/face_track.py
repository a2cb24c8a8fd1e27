"""Points of the face in every frame of a film, by finder or from the user's own file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.video_files import Clip
from bench.errors import BenchError, DataError, UnknownName, message_of
from bench.files import write_error
from bench.video.align import filled, smooth, square

Find = Callable[[np.ndarray], "np.ndarray | None"]
FINDERS: dict[str, Callable[[Path, Any], Find]] = {}
NONE = "none"
LONGEST = 5  # frames without a face that are bridged between frames with one
POINTS = (68, 5)


def finder(name: str) -> Callable[[Callable[[Path, Any], Find]], Callable[[Path, Any], Find]]:
    """Enter ``load(root, device)`` as the finder ``name``; what it returns takes (H, W, 3) uint8 of any size and gives
    (68, 2) or (5, 2) points in pixels with the picture's corner at (0, 0), or None where there is no face."""

    def enter(load: Callable[[Path, Any], Find]) -> Callable[[Path, Any], Find]:
        if name in FINDERS or name == NONE:
            raise BenchError(f"face finder {name!r} is defined twice", fix="rename one")
        FINDERS[name] = load
        return load

    return enter


@finder("mtcnn")
def _mtcnn(root: Path, device: Any) -> Find:
    """Five points of the first face found, by the fetched network."""
    from bench.nets.mtcnn import MTCNN
    from bench.weights import manifest as weights
    from bench.weights.load import load_part

    if weights.status(root, "mtcnn") != "present":
        raise BenchError(
            "finding faces needs weights 'mtcnn'",
            fix="`bench fetch mtcnn`, pass --landmarks FILE, or --align none for frames that are aligned already",
        )
    net = MTCNN()
    for part in ("pnet", "rnet", "onet"):
        getattr(net, part).load_state_dict(load_part(root, "mtcnn", part)[0], strict=True)
    net.to(device)

    def find(frame: np.ndarray) -> np.ndarray | None:
        found = net.points(frame)
        return None if found is None else found + 0.5  # it counts from the centre of the first pixel

    return find


def load_finder(root: Path, name: str, device: Any) -> Find:
    """A finder by name.

    Raises:
        UnknownName: no such finder. BenchError: it lacks its weights.
    """
    if name not in FINDERS:
        raise UnknownName.of("way to align", name, [*FINDERS, NONE])
    return FINDERS[name](root, device)


def read_points(path: Path, count: int) -> list[np.ndarray | None]:
    """A user's landmarks: a .npy file (N, 68 or 5, 2), or a .csv with a line of x and y in turn for each frame.

    NaN, or an empty line's place, stands for a frame without a face. Pixels, the picture's corner at (0, 0).

    Raises:
        DataError: missing, unreadable, or of another form or length than the clip.
    """
    try:
        if path.suffix == ".npy":
            held = np.load(path, allow_pickle=False)
        else:
            held = np.genfromtxt(path, delimiter=",", ndmin=2)
        points = np.asarray(held, np.float64).reshape(len(held), -1, 2)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"landmarks {path} cannot be read", got=message_of(error, 200)) from None
    if len(points) < count or points.shape[1] not in POINTS:
        raise DataError(
            f"landmarks {path} do not fit the clip", got=points.shape, expected=f"({count}, 68, 2) or ({count}, 5, 2)"
        )
    return [one if np.isfinite(one).all() else None for one in points[:count]]


def squares_of(
    clip: Clip, find: Find | None, points: list[np.ndarray | None] | None, sigma: float
) -> tuple[np.ndarray, list[str]]:
    """A smoothed FFHQ square for each frame.

    Args:
        find: used where ``points`` is None. sigma: of the smoothing, in frames.
    Returns:
        (N, 4) squares (bench/video/align.py); ids of frames whose face was bridged.
    Raises:
        DataError: frames without a face; they are named.
    """
    if points is None:
        assert find is not None
        points = [find(clip.read(i)) for i in clip.ids]
    whole, bridged = filled(points, LONGEST)
    return smooth(np.stack([square(one) for one in whole]), sigma), [clip.ids[n] for n in bridged]


def make_folder(folder: Path) -> None:
    """BenchError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None
