"""Timing: what the clock covers, how often it is read, what is kept. A clock of our own makes the numbers exact."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
import yaml

from bench.api import Context, Inversion, Method
from bench.generator import SharedGenerator, save_generator
from bench.inversion import machine, timing

DATASET = "tiny_set"


class Clock:
    """Seconds that pass only when a method works."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Worker(Method):
    """Embed takes 1 s and 0.1 s an image, render 0.5 s, all times ``scale``; the first call ``first`` s more."""

    def __init__(self, clock: Clock, scale: float = 1.0, first: float = 0.0):
        generator = SharedGenerator.toy(8)
        super().__init__(Context("toy", generator, torch.device("cpu"), load_weights=lambda _: {}))
        self.clock, self.scale, self.first, self.batches = clock, scale, first, []

    def embed(self, x):
        self.clock.now += self.scale * (1.0 + 0.1 * len(x)) + (0 if self.batches else self.first)
        self.batches.append((len(x), list(self.context.image_seeds)))
        return Inversion(torch.zeros(len(x), 1, 1))

    def render(self, w_plus, inversion):
        self.clock.now += 0.5 * self.scale
        return torch.zeros(len(w_plus), 3, 8, 8)


def run_sweep(scale: float, budget: float, images: int = 16, first: float = 0.0):
    clock = Clock()
    method = Worker(clock, scale, first)
    found = timing.sweep(method, torch.zeros(images, 3, 8, 8), list(range(images)), "fp32", budget, clock)
    return found, method


def test_embed_and_render_are_timed_apart_and_per_image():
    found, method = run_sweep(0.01, 25)
    one, four, sixteen = found["batches"]
    assert (one["size"], four["size"], sixteen["size"]) == (1, 4, 16)
    assert one["embed_s"] == pytest.approx(0.011) and one["render_s"] == pytest.approx(0.005)
    assert sixteen["embed_s"] == pytest.approx(0.026 / 16) and sixteen["images_per_s"] == pytest.approx(16 / 0.031)
    assert found["best_batch"] == 16 and found["skipped"] == []
    assert all(b["total_s"] == pytest.approx(b["embed_s"] + b["render_s"]) for b in found["batches"])
    assert one["repetitions"] == len(one["samples"]) == timing.MAX_SAMPLES


def test_warm_up_goes_on_until_stable_and_is_not_counted():
    found, method = run_sweep(0.01, 25, first=2.0)
    one = found["batches"][0]
    assert one["warmup"] == 4 and one["warmup_stable"]  # 2.02 | .02 .02 .02
    assert max(s["total_s"] for s in one["samples"]) < 0.02


def test_a_slow_method_is_timed_once_and_larger_batches_are_named_as_skipped():
    found, method = run_sweep(20.0, 25)
    one = found["batches"][0]
    assert one["repetitions"] == 1 and one["warmup"] == 1 and not one["warmup_stable"]
    assert one["total_s"] == pytest.approx(32.0)
    assert [s["size"] for s in found["skipped"]] == [4, 16] and "0.0 s left" in found["skipped"][0]["reason"]
    assert found["best_batch"] == 1 and len(method.batches) == 2


@pytest.mark.parametrize(("seconds", "repetitions"), [(5.3, 3), (12.0, 3), (12.6, 2), (26.0, 1)])
def test_slow_methods_are_timed_three_times_within_twice_the_budget(seconds, repetitions):
    """A warm-up and three samples while they fit 50 s; larger batches are then skipped."""
    found, method = run_sweep(seconds / 1.6, 25)
    assert found["batches"][0]["repetitions"] == repetitions == len(method.batches) - 1
    assert found["spent_s"] <= timing.STRETCH * 25 + (repetitions == 1) * seconds
    assert [b["size"] for b in found["batches"]] == [1] and len(found["skipped"]) == 2


def test_the_budget_is_kept():
    for scale in (0.05, 0.3, 1.0, 1.7):
        found, _ = run_sweep(scale, 25)
        assert found["spent_s"] <= 25 * 1.1, scale


def test_pictures_take_turns_with_their_own_seeds_and_no_batch_exceeds_them():
    found, method = run_sweep(0.01, 25, images=3)
    assert [b["size"] for b in found["batches"]] == [1]
    assert method.batches[:4] == [(1, [0]), (1, [1]), (1, [2]), (1, [0])]


def test_out_of_memory_ends_the_sweep_with_what_there_is():
    clock = Clock()
    method = Worker(clock, 0.01)
    embed = method.embed

    def limited(x):
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(x)

    method.embed = limited
    found = timing.sweep(method, torch.zeros(16, 3, 8, 8), list(range(16)), "fp32", 25, clock)
    assert [b["size"] for b in found["batches"]] == [1, 4]
    assert found["skipped"] == [{"size": 16, "reason": "out of memory"}]


def test_parameters_are_counted_once_and_apart():
    method = Worker(Clock())
    method.net = torch.nn.Linear(3, 2)
    method.again = [method.net, {"same": method.generator.net}]
    counted = machine.count_parameters(method)
    assert counted == {"generator": sum(p.numel() for p in method.generator.net.parameters()), "method": 8}


PEAK = """
import json, torch
from bench.inversion import machine

device = torch.device("cpu")
machine.reset_peak(device)
before = machine.peak_memory(device)["bytes"]
torch.zeros(64 << 20, dtype=torch.uint8).fill_(1)
found = machine.peak_memory(device)
print(json.dumps([found["bytes"] - before, found["kind"]]))
"""


def test_peak_memory_sees_an_allocation_that_is_gone_again():
    """In a process of its own: one that has run large tests holds freed pages, which a new tensor takes unseen."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    grown, kind = json.loads(done.stdout)
    assert grown >= 0
    if "while sampling" in kind:
        assert grown > 48 << 20


METHOD = """
from bench import api

class Method(api.Method):
    title = "Mean code"

    def embed(self, x):
        return api.Inversion(self.generator.latent_avg.expand(len(x), -1, -1))
"""


def test_time_run_writes_a_record_under_the_machine(tiny):
    """The real path: plan, generator from weights/manifest.yaml, prepared pictures, method from the project."""
    (tiny.root / "methods").mkdir()
    (tiny.root / "methods" / "mean_code.py").write_text(METHOD)
    (tiny.root / "weights").mkdir()
    toy = SharedGenerator.toy(32)
    file = tiny.root / "weights" / "toy.safetensors"
    sha256 = save_generator(file, toy.net, toy.latent_avg)
    entry = {
        "id": "toy",
        "file": file.name,
        "sha256": sha256,
        "size_bytes": file.stat().st_size,
        "domain": "blobs",
        "kind": "generator",
        "licence": "MIT",
    }
    manifest = {"weights": [entry], "domains": {"blobs": {"generator": "toy", "resolution": 32}}}
    (tiny.root / "weights" / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    for name, change in (
        ("params", {"methods": ["mean_code"]}),
        ("profiles/toy", {"time": {"images": 4, "budget_s": 3}}),
    ):
        path = tiny.root / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    path = timing.time_run("mean_code", DATASET, tiny.config, tiny.store, "cpu", "fp32")
    record = json.loads(path.read_text())
    assert path.name == "mean_code-tiny_set.json" and path.parents[2] == tiny.store.timing_dir("toy")
    assert path.parent.name.endswith(f"cpu_{torch.get_num_threads()}t")
    assert record["images"] == tiny.ids[:4] and record["resolution"] == 32
    assert [b["size"] for b in [*record["batches"], *record["skipped"]]] == [1, 4]  # a busy machine may skip the 4
    assert record["parameters"]["generator"] > 0 and record["parameters"]["method"] == 0
    assert record["batches"][0]["memory"]["bytes"] > 0 and record["machine"]["cores"] and record["config_hash"]
    local = timing.time_run("mean_code", DATASET, tiny.config, tiny.store, "cpu", "bf16")
    assert local.parent.name.endswith("_bf16") and local.parents[2] == tiny.store.timing_dir("local")


class Convolving(Worker):
    """One 3x3 convolution of 3 to 4 channels at 8 px in embed, nothing counted in render."""

    def embed(self, x):
        self.seen = torch.nn.functional.conv2d(x, torch.ones(4, 3, 3, 3), padding=1)
        return super().embed(x)


def test_work_is_counted_by_hand_and_slow_methods_are_left_alone():
    method = Convolving(Clock())
    x = torch.zeros(2, 3, 8, 8)
    found = timing.count_flops(method, x, [5, 6], "fp32", total_s=1.0)
    assert found == {"embed": 2 * 4 * 3 * 9 * 64, "render": 0} and method.batches == [(1, [5])]
    assert timing.count_flops(method, x, [5, 6], "fp32", total_s=127.0) == {"skipped": "one picture takes 127.0 s"}


def test_the_fingerprint_tells_threads_and_precision_apart():
    cpu = torch.device("cpu")
    first = machine.fingerprint(cpu, "fp32", 1)
    assert first == machine.fingerprint(cpu, "fp32", 1) and len(first) == 16
    assert len({first, machine.fingerprint(cpu, "fp32", 2), machine.fingerprint(cpu, "bf16", 1)}) == 3


def test_ratios_are_taken_to_the_named_method(cli, project):
    """On this device; without the reference there is no ratio, and the page says so."""
    profile = project / "profiles" / "toy.yaml"
    settings = yaml.safe_load(profile.read_text())
    settings["time"]["reference"] = "toy_codes"
    profile.write_text(yaml.safe_dump(settings))
    runs = [("run", "--method", method) for method in ("toy_copy", "toy_codes")]
    for words in [*runs, ("score",), ("aggregate",), ("time", "--method", "toy_copy"), ("report",)]:
        answer = cli(*words)
        assert answer.code == 0, answer.err
    page = project / "reports" / "tables" / "timing.md"
    assert "`toy_codes` is not timed here, so there is none." in page.read_text()
    assert cli("time", "--method", "toy_codes").code == 0 and cli("report").code == 0
    line = next(text for text in page.read_text().splitlines() if text.startswith("| Codes"))
    assert line.split("|")[5].strip() == "1.00"
