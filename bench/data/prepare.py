"""``bench prepare``: datasets brought to the disk and verified; counterfactuals on demand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.data.dataset import PreparedDataset
from bench.data.import_folder import FolderRequest, Prepared, prepare_folder
from bench.data.import_numbered import prepare_numbered
from bench.data.manifest import load_manifest, manifest_path
from bench.data.render import prepare_rendered
from bench.engine import PROCESSES, Execution
from bench.errors import BenchError, DataError, message_of
from bench.files import picture_errors, read_rgb, write_error, write_png
from bench.renderers.by_name import renderer_of
from bench.store.paths import RunStore, read_json, write_json

if TYPE_CHECKING:
    import numpy as np


class Project(Protocol):
    """What preparing a dataset needs of a project's settings (:class:`bench.config.project.Config` has it).

    Attributes:
        root: the project folder.
        datasets: ids of the profile's datasets; the first gives a new folder its domain and resolution.
    """

    @property
    def root(self) -> Path: ...

    @property
    def datasets(self) -> Sequence[str]: ...


def prepare(
    project: Project,
    dataset_id: str,
    asked: FolderRequest | None = None,
    update: bool = False,
    execution: Execution = PROCESSES,
) -> Prepared:
    """Prepare one dataset of whatever kind; see bench/data/render.py and bench/data/import_folder.py.

    Args:
        asked: settings of a folder dataset; a new one needs ``asked.images``.
    """
    asked = asked or FolderRequest()
    exists = manifest_path(project.root, dataset_id).is_file()
    manifest = load_manifest(project.root, dataset_id, True, images=not update) if exists else None
    if manifest is not None and manifest.numbers is not None:
        return prepare_numbered(project.root, manifest, asked, update, execution)
    if asked.images is None and (exists or not asked_anything(asked)):
        if load_manifest(project.root, dataset_id, images=False).kind == "rendered":
            if asked_anything(asked):
                raise BenchError(
                    f"dataset {dataset_id!r} is rendered and takes no folder settings",
                    fix="drop --images, --resolution, --crop, --convert and --domain",
                )
            return Prepared(prepare_rendered(project.root, dataset_id, update, execution))
    return prepare_folder(project.root, dataset_id, asked, folder_defaults(project), update, execution)


def asked_anything(asked: FolderRequest) -> bool:
    """Whether any option of an import from a folder is given."""
    return asked != FolderRequest()


def folder_defaults(project: Project) -> tuple[str, int] | None:
    """(domain, resolution) of the profile's data: what a user's folder gets if it does not say otherwise."""
    for name in project.datasets:
        if manifest_path(project.root, name).is_file():
            first = load_manifest(project.root, name, images=False)
            return first.domain, first.resolution
    return None


def record_profile(profile: str, store: RunStore, done: dict[str, dict[str, Any]]) -> Path:
    """Write the pipeline's proof that a profile's datasets are prepared: counts and manifest hashes, no clock."""
    path = store.prepared_path(profile)
    write_json(path, {name: {k: v for k, v in entry.items() if k != "id"} for name, entry in done.items()})
    return path


def counterfactual(dataset: PreparedDataset, image_id: str, attribute: str, degree: float) -> Path:
    """The picture that an ideal edit of ``image_id`` would give, rendered once and kept.

    Args:
        dataset: a prepared dataset of kind rendered.
        attribute, degree: as in :meth:`bench.api.renderer.Renderer.edit`.
    Returns:
        Path of an RGB PNG of the dataset's resolution.
    Raises:
        BenchError: the dataset is not rendered; UnknownName: no such attribute; DataError: no such image.
    """
    return counterfactuals(dataset, [image_id], attribute, degree)[0]


def counterfactuals(dataset: PreparedDataset, ids: Sequence[str], attribute: str, degree: float) -> list[Path]:
    """:func:`counterfactual` for many pictures; those that are missing are rendered together.

    Beside each picture ``X.png`` lie its part labels, ``X.labels.png`` (:func:`read_labels`). All are rendered anew
    when the manifest or the renderer has changed.
    """
    manifest = dataset.manifest
    if manifest.render is None:
        raise BenchError(
            f"dataset {dataset.id!r} has no counterfactuals", got=f"kind {manifest.kind!r}", expected="rendered"
        )
    renderer = renderer_of(manifest.render.renderer)
    index = {image_id: n for n, image_id in enumerate(manifest.ids)}
    if unknown := [i for i in ids if i not in index]:
        raise DataError(f"dataset {dataset.id!r} has no image {unknown[0]!r}", expected=f"e.g. {manifest.ids[0]!r}")
    paths = {i: dataset.paths.counterfactual(i, attribute, degree) for i in ids}
    state = {"manifest_sha256": manifest.sha256, "renderer_sha256": renderer.code_sha256()}
    todo = [i for i in dict.fromkeys(ids) if not _current(paths[i], manifest.resolution, state)]
    if todo:
        spec = manifest.render
        scenes = [renderer.edit(renderer.sample(spec.split, index[i], spec.seed), attribute, degree) for i in todo]
        try:
            paths[todo[0]].parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(paths[todo[0]].parent, error) from None
        for image_id, picture in zip(todo, renderer.render(scenes, manifest.resolution), strict=True):
            write_png(paths[image_id], picture.image)
            write_png(paths[image_id].with_suffix(".labels.png"), picture.labels)
            write_json(paths[image_id].with_suffix(".json"), state)  # last: what has it is whole
    return [paths[i] for i in ids]


def _current(path: Path, resolution: int, state: dict[str, str]) -> bool:
    """Picture and labels are there, whole, and of this manifest and renderer."""
    try:
        held = read_json(path.with_suffix(".json")) == state
        return held and read_rgb(path, resolution) is not None and len(read_labels(path.with_suffix(".labels.png"))) > 0
    except DataError:
        return False


def read_labels(path: Path) -> np.ndarray:
    """(R, R) uint8 part of each pixel (``Renderer.parts``).

    Raises:
        DataError: no such file, or no picture of one channel.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as picture:
            labels = np.asarray(picture)
    except picture_errors() as error:
        raise DataError(f"labels {path} cannot be read", got=message_of(error)) from None
    if labels.ndim != 2:
        raise DataError(f"labels {path} have several channels", got=labels.shape, expected="(R, R)")
    return labels
