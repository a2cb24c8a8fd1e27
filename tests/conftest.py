"""A toy project in a temporary folder: eight pictures, a tiny generator, a few methods. No downloads, no renders."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import yaml

COUNT, SIDE = 8, 32
LEVELS, SHARE = 1, 0.002  # between batches of other pictures, docs/numerics.md: so far apart, so many of the samples

METHODS = {
    "toy_copy": '''
from bench import api
class Method(api.Method):
    """Keeps the picture."""
    title, source, control = "Copy", "test", True
    def embed(self, x):
        return api.Inversion(self.generator.latent_avg.expand(len(x), -1, -1).clone(), {"x": x.clone()})
    def render(self, w_plus, inversion):
        return inversion.memory["x"].clone()
''',
    "toy_codes": '''
import torch
from bench import api
class Method(api.Method):
    """A code from the mean colour; random numbers from the image's own seed."""
    title, source = "Codes", "test"
    options = {"scale": 0.5, "noise": 0.1, "steps": 1}
    lowest = {"steps": 1}
    def embed(self, x):
        w = self.generator.latent_avg.expand(len(x), -1, -1).clone()
        w[..., :3] += self.opt["scale"] * x.mean((2, 3))[:, None]
        for n, seed in enumerate(self.context.image_seeds):
            w[n] += self.opt["noise"] * torch.randn(w.shape[1:], generator=torch.Generator().manual_seed(seed))
        return api.Inversion(w)
''',
    "toy_fussy": '''
import torch
from bench import api
class Method(api.Method):
    """Raises for one image and gives NaN for another, chosen by their seeds."""
    title, source = "Fussy", "test"
    options = {"raise_for": 0, "nan_for": 0}
    def embed(self, x):
        if self.opt["raise_for"] in self.context.image_seeds:
            raise ValueError("cannot do this one")
        w = self.generator.latent_avg.expand(len(x), -1, -1).clone()
        return api.Inversion(w + 0.1 * x.mean((1, 2, 3))[:, None, None])
    def render(self, w_plus, inversion):
        x_hat = super().render(w_plus, inversion)
        for n, seed in enumerate(self.context.image_seeds):
            if seed == self.opt["nan_for"]:
                x_hat[n, 0, 0, 0] = float("nan")
        return x_hat
''',
    "toy_deadly": '''
import os, signal, time
from pathlib import Path
from bench import api
class Method(api.Method):
    """Dies with its process while a file called `deadly` lies in the working folder; slow enough to be interrupted."""
    title, source = "Deadly", "test"
    options = {"die_for": 0, "sleep": 0.0}
    def embed(self, x):
        time.sleep(self.opt["sleep"])
        if self.opt["die_for"] in self.context.image_seeds and Path("deadly").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        w = self.generator.latent_avg.expand(len(x), -1, -1).clone()
        return api.Inversion(w + 0.1 * x.mean((1, 2, 3))[:, None, None])
''',
}

PROFILE = {
    "protocol": "toy32",
    "datasets": ["toy"],
    "metrics": ["mae", "psnr", "rate"],
    "engine": "serial",
    "batch_size": 2,
    "shard_size": 2,
    "device": "cpu",
    "bootstrap": 50,
    "time": {"images": 2, "budget_s": 0.2},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    where = "where tests/golden, tests/device and tests/perf/test_step_1024.py compute"
    parser.addoption("--device", choices=["cpu", "cuda", "mps"], help=where)
    parser.addoption("--store", type=Path, help="folder that tests/perf/test_time_1024.py writes to")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device of ``--device``, in full float32; else the CPU."""
    from bench.device import resolve_device

    return resolve_device(request.config.getoption("device") or "cpu").type


class Answer(NamedTuple):
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


def build_project(root: Path) -> Path:
    """params.yaml, profiles/toy.yaml, dataset ``toy`` (prepared), generator of domain ``toy``, the methods above."""
    import numpy as np
    from PIL import Image

    from bench.config.project import load_config
    from bench.contract.toy import toy_images
    from bench.data.import_folder import FolderRequest
    from bench.data.prepare import prepare
    from bench.engine import SERIAL
    from bench.generator import SharedGenerator, save_generator

    for name in ("profiles", "datasets", "methods", "weights", "pictures"):
        (root / name).mkdir(parents=True)
    params = {"profile": "toy", "seed": 0, "methods": ["toy_copy", "toy_codes"], "ablations": {"quiet": "toy_codes"}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "profiles" / "toy.yaml").write_text(yaml.safe_dump(PROFILE))
    ablations = {"ablations": {"quiet": {"method": "toy_codes", "options": {"noise": 0.0}}}}
    (root / "ablations.yaml").write_text(yaml.safe_dump(ablations))
    for name, source in METHODS.items():
        (root / "methods" / f"{name}.py").write_text(source)
    for n, picture in enumerate(toy_images(SIDE, COUNT)):
        Image.fromarray(np.asarray(picture)).save(root / "pictures" / f"head_{n}.png")
    toy = SharedGenerator.toy(SIDE)
    sha256 = save_generator(root / "weights" / "toy.safetensors", toy.net, toy.latent_avg[0])
    entry = {
        "id": "toy_generator",
        "file": "toy.safetensors",
        "sha256": sha256,
        "domain": "toy",
        "kind": "generator",
        "licence": "none",
        "size_bytes": (root / "weights" / "toy.safetensors").stat().st_size,
    }
    domains = {"toy": {"generator": "toy_generator", "resolution": SIDE}}
    (root / "weights" / "manifest.yaml").write_text(yaml.safe_dump({"weights": [entry], "domains": domains}))
    asked = FolderRequest(images=root / "pictures", domain="toy", resolution=SIDE)
    prepare(load_config(root), "toy", asked, execution=SERIAL)
    return root


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_project(tmp_path_factory.mktemp("template") / "project")


@pytest.fixture
def project(_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the toy project; the test runs inside it."""
    from bench import registry

    root = tmp_path / "project"
    shutil.copytree(_template, root)
    monkeypatch.chdir(root)
    registry.forget()
    return root


@pytest.fixture
def cli(project: Path, capfd: pytest.CaptureFixture[str]):
    """Run a command in the toy project as ``bench`` would and return its Answer."""
    from bench import registry
    from bench.cli.app import run_cli

    def call(*args: object) -> Answer:
        registry.forget()  # the test may have added files
        capfd.readouterr()
        code = run_cli([str(a) for a in args])
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call


@pytest.fixture
def one_line_error(cli):
    """Run a command that must fail as the user's to mend: exit code 2, one line on stderr. Returns that line."""

    def call(*args: object) -> str:
        answer = cli(*args)
        lines = [line for line in answer.err.splitlines() if line.startswith("error: ")]
        assert answer.code == 2, answer
        assert len(lines) == 1 and answer.err.rstrip().endswith(lines[0]), answer.err
        assert "Traceback" not in answer.err
        return lines[0]

    return call


@pytest.fixture(scope="session")
def assert_same_images():
    """Compare pictures, (..., H, W, 3) uint8 or a dict of them, that were computed in batches of other pictures.

    A sample may be LEVELS apart, and SHARE of the samples of a picture may differ. What was computed in equal batches is
    equal, whatever the engine or the worker: compare that with ``==``.
    """
    import numpy as np

    def check(found, expected) -> None:
        if isinstance(expected, dict):
            assert found.keys() == expected.keys()
        pairs = [(found[k], expected[k]) for k in expected] if isinstance(expected, dict) else [(found, expected)]
        for one, other in pairs:
            assert one.shape == other.shape and one.dtype == other.dtype == np.uint8
            apart = np.abs(one.astype(int) - other)
            assert apart.max() <= LEVELS, f"{apart.max()} grey levels apart"
            most = (apart > 0).mean((-3, -2, -1)).max()
            assert most <= SHARE, f"{most:.2%} of a picture's samples differ"

    return check


@pytest.fixture(scope="session")
def assert_same_rows():
    """Compare tidy rows of such pictures: values move by what LEVELS in SHARE of a picture's samples can change.

    Mean absolute differences on [0, 1] move by that at most, those of two frames by twice that; root mean squares, which
    PSNR is of, by its root. Rows of any other metric are equal.
    """
    import numpy as np

    level = LEVELS / 255

    def check(found, expected) -> None:
        key = [column for column in expected if column != "value"]
        assert list(found) == list(expected) and len(found) == len(expected) > 0
        both = found.merge(expected, on=key, how="outer", indicator=True, validate="one_to_one")
        assert set(both["_merge"]) == {"both"}
        for metric, rows in both.groupby("metric"):
            one, other, most = rows["value_x"], rows["value_y"], 0.0
            if metric == "psnr":
                one, other, most = 10 ** (-one / 20), 10 ** (-other / 20), SHARE**0.5 * level
            elif metric == "mae" or metric.startswith("flicker"):
                most = (1 if metric == "mae" else 2) * SHARE * level
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=most, err_msg=metric)

    return check


@pytest.fixture(scope="session")
def bench_command() -> list[str]:
    """The console entry point for subprocesses, of the interpreter that runs the tests."""
    return [sys.executable, "-c", "from bench.cli.entry import main; main()"]
