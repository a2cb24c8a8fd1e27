"""A picture as pure data: what is sampled, stored, edited and handed to the renderer."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field

from annyfaces import factors as F
from bench.errors import BenchError, UnknownName
from bench.seeds import seed_for

SPLITS = ("train", "test", "video")
TRAIN_IDENTITIES = 12500
CLIPS, CLIP_FRAMES = 8, 48
DETAIL_SHARE = 0.3  # share of training pictures that hold image-specific details


@dataclass
class Scene:
    """All factors of one picture. Numbers are plain floats, so ``to_dict`` is JSON.

    Attributes:
        split, index, seed: where it was drawn from.
        identity: id, gender 0..1, phenotypes, local shape changes, skin, eyes, brows, hair, beard.
        age_years: 18 to 80.
        expression: smile, teeth, mouth_open, eyes_closed, brow_raise, frown (0..1), gaze_x, gaze_y (-1..1).
        makeup: lip colour strength and hue, eye shadow, lashes, blush.
        pose: yaw, pitch, roll in radians.
        light, background, cloth: what surrounds the head.
        details: image-specific things, each a dict with ``kind``.
        camera_expression: expression the alignment follows; set by edits that must not move the camera.
    """

    split: str
    index: int
    seed: int
    identity: dict
    age_years: float
    expression: dict
    makeup: dict
    pose: dict
    light: dict
    background: dict
    cloth: dict
    details: list = field(default_factory=list)
    camera_expression: dict | None = None

    def to_dict(self) -> dict:
        """A JSON-able copy."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> Scene:
        """The scene that :meth:`to_dict` wrote."""
        return cls(**copy.deepcopy(data))

    def copy(self) -> Scene:
        """Return a deep copy of the scene."""
        return copy.deepcopy(self)


def sample_scene(split: str, index: int, seed: int) -> Scene:
    """Draw a scene; each group of factors has its own seed, so none depends on how many numbers another drew.

    Args:
        split: "train" (details with probability 0.3; 12,500 identities, four pictures each in 50,000),
            "test" (an identity of its own per picture; two to four details), "video" (index = clip * 48 + frame).
        index: picture number in the split, >= 0; for video below 384.
        seed: seed of the data set.
    Raises:
        UnknownName: no such split. BenchError: index out of range.
    """
    if split not in SPLITS:
        raise UnknownName.of("split", split, SPLITS)
    if index < 0 or (split == "video" and index >= CLIPS * CLIP_FRAMES):
        raise BenchError(
            f"no picture {index} in split {split!r}",
            expected=f"0 to {CLIPS * CLIP_FRAMES - 1}" if split == "video" else "0 or more",
        )
    group = {"train": index % TRAIN_IDENTITIES, "test": index, "video": index // CLIP_FRAMES}[split]
    unit = group if split == "video" else index  # what one picture (or one clip) shares

    def rng(purpose: str, key: int):
        return F.generator(seed_for(seed, split, key, purpose))

    identity = F.sample_identity(rng("identity", group), f"{split}-{group:06d}")
    scene = Scene(
        split=split,
        index=index,
        seed=seed,
        identity=identity,
        age_years=F.sample_age(rng("age", unit), identity),
        expression=F.sample_expression(rng("expression", unit)),
        makeup=F.sample_makeup(rng("makeup", unit), identity),
        pose=F.sample_pose(rng("pose", unit)),
        light=F.sample_light(rng("light", unit)),
        background=F.sample_background(rng("background", unit)),
        cloth=F.sample_cloth(rng("cloth", unit)),
    )
    random = rng("details", unit)
    if split == "test":
        scene.details = F.sample_details(random, identity, 2 + int(random.integers(3)))
    elif split == "train" and random.random() < DETAIL_SHARE:
        scene.details = F.sample_details(random, identity, 1 + int(random.integers(3)))
    elif split == "video" and group % 2:
        scene.details = F.sample_details(random, identity, 2)
    if split == "video":
        F.animate(scene.expression, scene.pose, rng("motion", group), index % CLIP_FRAMES, CLIP_FRAMES)
    return scene


# attribute -> (group, field, low, high, amount of degree 1)
EDITS: dict[str, tuple[str, str, float, float, float]] = {
    "smile": ("expression", "smile", 0.0, 1.0, 1.0),
    "age": ("", "age_years", 18.0, 80.0, 40.0),
    "yaw": ("pose", "yaw", -0.6, 0.6, 0.4),
    "mouth_open": ("expression", "mouth_open", 0.0, 1.0, 1.0),
    "hair_colour": ("identity", "hair_darkness", 0.0, 1.0, 1.0),
    "beard": ("identity", "beard", 0.0, 1.0, 1.0),
    "lip_colour": ("makeup", "lip_strength", 0.0, 1.0, 1.0),
    "gender": ("identity", "gender", 0.0, 1.0, 1.0),
    "eyes_closed": ("expression", "eyes_closed", 0.0, 1.0, 1.0),
}


def edit_scene(scene: Scene, attribute: str, degree: float) -> Scene:
    """The same scene with one factor moved: the exact target of an edit.

    Args:
        attribute: a key of :data:`EDITS`.
        degree: signed; 1 is the whole range of most factors, 40 years of age, 0.4 rad of yaw. hair_colour: positive is
            darker. The factor stays within its bounds.
    Returns:
        A new scene; details, background, light and all other factors are the same. Expression edits keep the camera.
    """
    if attribute not in EDITS:
        raise UnknownName.of("attribute", attribute, EDITS)
    group, name, low, high, amount = EDITS[attribute]
    out = scene.copy()
    if group == "expression" and out.camera_expression is None:
        out.camera_expression = dict(scene.expression)
    holder = out.__dict__ if not group else getattr(out, group)
    holder[name] = float(min(max(holder[name] + degree * amount, low), high))
    return out
