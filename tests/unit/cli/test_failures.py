"""One image that fails, or a batch too large for the memory, costs no other image: the same for every verb."""

import json
import shutil

import pandas as pd
import pytest
import yaml

from bench.inversion.runner import image_seed

RATE = {"images": 4, "codes": [0.5], "memory": [1.0], "qualities": [50]}
HUNGRY = """
from pathlib import Path
import torch
from bench import api
class Method(api.Method):
    'Has memory for two images at a time; writes the size of every batch to a file.'
    title, source = "Hungry", "test"
    def embed(self, x):
        with Path("sizes.txt").open("a") as file:
            print(len(x), file=file)
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return api.Inversion(self.generator.latent_avg.expand(len(x), -1, -1) + x.mean((1, 2, 3))[:, None, None])
"""
CALLS = {  # verb -> its arguments
    "run": ("--batch-size", 4, "--variant", "own"),
    "edit": ("--direction", "bright", "--degree", 1, "--batch-size", 4, "--out", "out"),
    "score-edits": ("--masks", "masks", "--variant", "own"),
    "rate": (),
    "video": ("--direction", "bright", "--clip", "pictures", "--align", "none", "--batch-size", 4, "--out", "out"),
}


@pytest.fixture
def asked(edited, monkeypatch):
    """The toy project with eight images a verb: masks for all, shards of four, rates of four."""
    from bench.edits import score_method

    for n in range(4, 8):
        shutil.copy(edited / "masks" / "head_0.png", edited / "masks" / f"head_{n}.png")
    path = edited / "profiles" / "toy.yaml"
    profile = yaml.safe_load(path.read_text())
    profile |= {"rate": RATE, "shard_size": 4, "edits": {**profile["edits"], "images": 8, "round_trips": 0}}
    path.write_text(yaml.safe_dump(profile))
    monkeypatch.setattr(score_method, "SHARD", 4)
    (edited / "methods" / "toy_hungry.py").write_text(HUNGRY)
    return edited


def failures(root, verb, method):
    """What a verb recorded: image id -> reason."""
    results = root / "results"
    records = {
        "run": results / "runs" / "local" / f"{method}.own" / "toy" / "run.json",
        "edit": root / "out" / "edit.json",
        "score-edits": results / "edits" / "local" / f"{method}.own" / "edits.json",
        "video": root / "out" / "video.json",
    }
    if verb == "rate":
        table = pd.read_parquet(results / "rate" / "toy" / f"{method}.parquet")
        return table.attrs["failures"].get("toy", {})
    return json.loads(records[verb].read_text())["failures"]


@pytest.mark.parametrize("verb", CALLS)
def test_an_image_that_fails_is_recorded_and_the_others_go_on(asked, cli, verb):
    seed = image_seed(0, "pictures" if verb == "video" else "toy", "head_1")
    source = asked / "methods" / "toy_fussy.py"
    source.write_text(source.read_text().replace('"raise_for": 0', f'"raise_for": {seed}'))
    answer = cli(verb, "--method", "toy_fussy", *CALLS[verb])
    assert answer.code == 0, answer.err
    assert failures(asked, verb, "toy_fussy") == {"head_1": "ValueError: cannot do this one"}


@pytest.mark.parametrize("verb", CALLS)
def test_a_batch_too_large_for_the_memory_is_halved(asked, cli, verb):
    answer = cli(verb, "--method", "toy_hungry", *CALLS[verb])
    assert answer.code == 0, answer.err
    assert failures(asked, verb, "toy_hungry") == {}
    sizes = [int(line) for line in (asked / "sizes.txt").read_text().split()]
    assert sizes[sizes.index(4) :][:3] == [4, 2, 2]


@pytest.mark.parametrize("verb", CALLS)
def test_no_memory_for_one_image_is_the_users_to_mend(asked, one_line_error, verb):
    source = asked / "methods" / "toy_hungry.py"
    source.write_text(source.read_text().replace("len(x) > 2", "len(x) > 0"))
    assert "too little memory" in one_line_error(verb, "--method", "toy_hungry", *CALLS[verb])
