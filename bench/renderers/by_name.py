"""The renderers there are, by the name that a manifest gives."""

from __future__ import annotations

from bench.api.renderer import Renderer
from bench.errors import UnknownName
from bench.renderers.annyfaces import Annyfaces

DEFAULT = "annyfaces"  # of manifests that name none
RENDERERS: dict[str, Renderer] = {DEFAULT: Annyfaces()}


def renderer_of(name: str | None) -> Renderer:
    """Return the renderer of a manifest's section ``render``; None is the default.

    Raises:
        UnknownName: there is no such renderer.
    """
    name = name or DEFAULT
    if name not in RENDERERS:
        raise UnknownName.of("renderer", name, RENDERERS)
    return RENDERERS[name]
