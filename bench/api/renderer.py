"""What a renderer offers to rendered datasets: scenes as data, images with ground truth, exact edits, true motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

Scene = Any  # an image as data, of the renderer's own type
View = Any  # the geometry behind one rendered image, of the renderer's own type


@dataclass(frozen=True)
class FactorEdit:
    """One factor of a scene that an exact edit moves.

    Args:
        factor: name of the factor in the ground truth.
        low: lowest value of the factor, in its own unit.
        high: highest value of the factor.
        amount: change of the factor at degree 1.
    """

    factor: str
    low: float
    high: float
    amount: float


class RenderedImage(Protocol):
    """One image and its ground truth.

    Attributes:
        image: (R, R, 3) uint8 sRGB.
        labels: (R, R) uint8, index into the renderer's ``parts``.
        landmarks: (68, 2) float32 pixels, x right, y down, the corner of the image at (0, 0).
        factors: name -> number or text.
    """

    image: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray
    factors: Mapping[str, float | str]


class Renderer(Protocol):
    """A renderer of images whose every factor is known."""

    @property
    def version(self) -> str:
        """Version that manifests of rendered datasets name."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the part labels, in the order of their indices."""
        ...

    @property
    def edits(self) -> Mapping[str, FactorEdit]:
        """Attribute -> the factor that its exact edit moves."""
        ...

    def code_sha256(self) -> str:
        """Hash the renderer's source files: images of other code are stale."""
        ...

    def sample(self, split: str, index: int, seed: int) -> Scene:
        """Draw the scene of one image of a split."""
        ...

    def edit(self, scene: Scene, attribute: str, degree: float) -> Scene:
        """Return the same scene with one factor moved.

        Raises:
            UnknownName: no such attribute.
        """
        ...

    def render(self, scenes: Sequence[Scene], resolution: int) -> list[RenderedImage]:
        """Render scenes; each image depends on its own scene alone."""
        ...

    def warm_up(self, resolution: int) -> None:
        """Compile or load half of the code, while another process does so with the rest. May do nothing."""
        ...

    def view(self, scene: Scene, resolution: int) -> View:
        """Render a scene for its geometry."""
        ...

    def motion(self, earlier: View, later: View) -> np.ndarray:
        """Compute where each pixel of the later image was in the earlier one of the same clip.

        Returns:
            (R, R, 2) float32, (column, row) in pixels to the earlier place; NaN where there is none.
        """
        ...
