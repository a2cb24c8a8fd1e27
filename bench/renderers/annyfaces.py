"""The embedded domain's renderer, package :mod:`annyfaces`, as an :class:`bench.api.renderer.Renderer`.

Its modules are imported when they are needed: anny and numba take seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import annyfaces
from bench.api.renderer import FactorEdit, RenderedImage, Scene, View

if TYPE_CHECKING:
    import numpy as np


class Annyfaces:
    """Renders heads. Building a renderer of a resolution costs seconds, so each is kept for the process."""

    def __init__(self) -> None:
        self._renderers: dict[int, Any] = {}
        self._tracers: dict[int, Any] = {}

    @property
    def version(self) -> str:
        """Version of the renderer's images."""
        from annyfaces.render import RENDERER_VERSION

        return str(RENDERER_VERSION)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the part labels."""
        from annyfaces.labels import PARTS

        return PARTS

    @property
    def edits(self) -> Mapping[str, FactorEdit]:
        """Attribute -> the factor that its exact edit moves."""
        from annyfaces.scene import EDITS

        return {name: FactorEdit(factor, low, high, amount) for name, (_, factor, low, high, amount) in EDITS.items()}

    def code_sha256(self) -> str:
        """Hash the source files of the package."""
        return annyfaces.code_sha256()

    def sample(self, split: str, index: int, seed: int) -> Scene:
        """Draw the scene of one image: see :func:`annyfaces.scene.sample_scene`."""
        from annyfaces.scene import sample_scene

        return sample_scene(split, index, seed)

    def edit(self, scene: Scene, attribute: str, degree: float) -> Scene:
        """Move one factor of a scene: see :func:`annyfaces.scene.edit_scene`."""
        from annyfaces.scene import edit_scene

        return edit_scene(scene, attribute, degree)

    def render(self, scenes: Sequence[Scene], resolution: int) -> list[RenderedImage]:
        """Render scenes at a resolution."""
        return self._renderer(resolution).render(list(scenes))

    def warm_up(self, resolution: int) -> None:
        """Compile the shading unless this process has rendered at the resolution already."""
        if resolution not in self._renderers:
            self._renderer(resolution).compile_shading()

    def view(self, scene: Scene, resolution: int) -> View:
        """Render a scene for its geometry: see :class:`annyfaces.motion.View`."""
        if resolution not in self._tracers:
            from annyfaces.motion import Tracer

            self._tracers[resolution] = Tracer(resolution)
        return self._tracers[resolution].trace(scene)

    def motion(self, earlier: View, later: View) -> np.ndarray:
        """Compute the motion from the later image back to the earlier one."""
        from annyfaces.motion import between

        return between(earlier, later)

    def _renderer(self, resolution: int) -> Any:
        if resolution not in self._renderers:
            from annyfaces.render import Renderer

            self._renderers[resolution] = Renderer(resolution=resolution)
        return self._renderers[resolution]
