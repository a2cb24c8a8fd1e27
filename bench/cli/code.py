"""``bench code``: what the stages of the pipeline depend on in place of long lists of files."""

from __future__ import annotations

import shutil

from bench.cli import common
from bench.cli.common import open_project, show, verb


@verb(
    "Hash the code that each stage uses, to results/code: a stage of the pipeline runs again where the files "
    "that its verb and its method import have changed, and nowhere else.",
    "bench code",
)
def command(root: common.Root = None) -> None:
    project = open_project(root)
    from bench.planning.code_hashes import stage_code
    from bench.store.paths import write_json

    found = stage_code(project.root)
    shutil.rmtree(project.store.code_dir, ignore_errors=True)  # what methods that are gone have left
    for name, files in found.items():
        path = project.store.code_dir / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, files)
    show([project.store.code_dir], project.root)
