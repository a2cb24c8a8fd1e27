"""Fetching against a server on this machine that misbehaves in every known way; nothing leaves the machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml

from bench.cli.app import run_cli
from bench.errors import BenchError, WeightsError
from bench.generator import SharedGenerator
from bench.nets.stylegan2 import Generator
from bench.weights import download as dl
from bench.weights import fetch, layouts, load, manifest
from bench.weights.listing import PublishedFile, published_path, read_published
from bench.weights.lock import lock_path, read_lock

DATA = bytes(range(256)) * 4000  # 1 MB
NAME = "file.pt"


class Server(ThreadingHTTPServer):
    """Serves ``files`` with ranges. ``faults`` are taken one per request: cut after n bytes, status code, page ..."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.log, self.tag, self.ranges = {}, [], [], '"one"', True

    def url(self, name=NAME):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):  # noqa: N802 - the name http.server calls
        server = self.server
        asked = self.headers.get("Range")
        server.log.append(asked)
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int) and fault < 0:
            return self.send_error(-fault)
        if fault == "page":
            return self.answer(200, b"<!DOCTYPE html><html>Quota exceeded</html>", {"Content-Type": "text/html"})
        if fault == "disguised page":
            return self.answer(200, b"<!DOCTYPE html><html>Quota exceeded</html>", {})
        data, start = server.files[self.path.lstrip("/")], 0
        same = self.headers.get("If-Range") in (None, server.tag)
        if asked and server.ranges and same:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        headers = {"ETag": server.tag, "Content-Length": str(len(data) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if isinstance(fault, int):
            body = body[:fault]
        return self.answer(206 if start else 200, body, headers)

    def answer(self, status, body, headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@pytest.fixture()
def server():
    with Server() as server:
        server.files[NAME] = DATA
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def get(server, target, progress=lambda done, total: None, **file):
    return dl.download(
        PublishedFile(**{"name": NAME, "url": server.url(), **file}), target, progress, wait=lambda seconds: None
    )


@pytest.fixture()
def target(tmp_path):
    return tmp_path / "cache" / NAME


def left(target):
    return sorted(p.name for p in target.parent.iterdir())


# --- download ---


def test_a_plain_download(server, target):
    seen = []
    get(server, target, lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == DATA and left(target) == [NAME]
    assert seen == sorted(seen) and seen[-1] == (len(DATA), len(DATA)) and len(seen) > 1


def test_a_broken_connection_is_resumed_where_it_stopped(server, target):
    server.faults = [300_000, 200_000]
    get(server, target)
    assert target.read_bytes() == DATA and left(target) == [NAME]
    assert server.log == [None, "bytes=300000-", "bytes=500000-"]


def test_an_interrupted_call_leaves_no_final_file_and_the_next_goes_on(server, target):
    def interrupt(done, total):
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, target, interrupt)
    assert left(target) == [f"{NAME}.part", f"{NAME}.part.json"]
    have = target.with_name(f"{NAME}.part").stat().st_size
    assert 0 < have < len(DATA)
    get(server, target)
    assert target.read_bytes() == DATA and server.log[-1] == f"bytes={have}-"


def test_given_up_after_some_attempts_with_what_came_kept(server, target):
    server.faults = [1000] * dl.ATTEMPTS
    with pytest.raises(
        WeightsError, match="ended after.*4000 bytes are kept.*goes on from there.*in a browser"
    ) as error:
        get(server, target)
    assert "\n" not in str(error.value) and not target.exists()
    get(server, target)
    assert target.read_bytes() == DATA and server.log[-1] == "bytes=4000-"


def test_a_changed_file_is_not_glued_on(server, target):
    server.faults = [300_000]
    server.files["other"] = DATA

    def change(done, total):
        server.tag, server.files[NAME] = '"two"', DATA[::-1]

    get(server, target, change)
    assert target.read_bytes() == DATA[::-1]


def test_a_server_without_ranges_starts_over(server, target):
    server.ranges, server.faults = False, [300_000]
    get(server, target)
    assert target.read_bytes() == DATA


def test_no_tag_means_no_resumption(server, target):
    """Without a version from the server two halves could be of two files."""
    server.tag, server.faults = "", [300_000]
    get(server, target)
    assert target.read_bytes() == DATA and server.log == [None, None]


def test_everything_was_there_but_the_name(server, target):
    target.parent.mkdir()
    target.with_name(f"{NAME}.part").write_bytes(DATA)
    target.with_name(f"{NAME}.part.json").write_text(json.dumps({"url": server.url(), "tag": server.tag}))
    get(server, target)
    assert target.read_bytes() == DATA and server.log == [f"bytes={len(DATA)}-"]


def test_a_partial_file_of_another_address_is_dropped(server, target):
    target.parent.mkdir()
    target.with_name(f"{NAME}.part").write_bytes(b"other")
    target.with_name(f"{NAME}.part.json").write_text(json.dumps({"url": "http://elsewhere/x", "tag": server.tag}))
    get(server, target)
    assert target.read_bytes() == DATA and server.log == [None]


@pytest.mark.parametrize("fault", [-503, -429])
def test_a_busy_server_is_asked_again(server, target, fault):
    server.faults = [fault, fault]
    get(server, target)
    assert target.read_bytes() == DATA and len(server.log) == 3


@pytest.mark.parametrize(("fault", "message"), [
    (-404, "HTTP 404"),
    (-403, "HTTP 403"),
    ("page", "a web page instead of the file"),
    ("disguised page", "a web page instead of the file"),
])  # fmt: skip
def test_a_refusal_says_what_to_do_by_hand(server, target, fault, message):
    server.faults = [fault]
    with pytest.raises(WeightsError, match=f"did not hand out.*{message}.*browser, save it as {NAME}.*--from") as error:
        get(server, target)
    assert "\n" not in str(error.value) and not target.exists() and len(server.log) == 1


def test_google_drive_is_named_with_its_page(server, target, monkeypatch):
    monkeypatch.setattr("bench.weights.listing.DRIVE", server.url() + "?id={}")
    server.faults = ["page"]
    with pytest.raises(WeightsError, match=r"Google Drive did not hand out.*quota.*drive.google.com/file/d/ABC/view"):
        dl.download(PublishedFile(name=NAME, drive="ABC"), target, wait=lambda s: None)


def test_nobody_answers(target):
    file = PublishedFile(name=NAME, url="http://127.0.0.1:9/x")
    with pytest.raises(WeightsError, match="could not be downloaded from 127.0.0.1:9") as error:
        dl.download(file, target, wait=lambda seconds: None)
    assert "\n" not in str(error.value)


def test_no_space(server, target, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("U", (), {"free": 1000})())
    with pytest.raises(WeightsError, match="too little space"):
        get(server, target)
    assert not target.exists()


def test_two_programs_do_not_write_one_file(server, target):
    def again(done, total):
        with pytest.raises(BenchError, match="is being downloaded by another process"):
            get(server, target)

    get(server, target, again)
    assert target.read_bytes() == DATA


# --- from file to weights ---


@pytest.fixture()
def project(tmp_path, server, monkeypatch):
    """A project whose one published generator is tiny, and an encoder with a copy of it."""
    for side in layouts.WIDTHS:
        monkeypatch.setitem(layouts.WIDTHS, side, 8)
    monkeypatch.setitem(layouts.RULES, "tiny_encoder", lambda: {"a.weight": (4, 3), "a.num_batches_tracked": ()})
    root = tmp_path / "project"
    for folder in ("weights", "profiles", "datasets", "methods"):
        (root / folder).mkdir(parents=True)
    (root / "params.yaml").write_text("profile: p\nmethods: [m]\n")
    (root / "profiles" / "p.yaml").write_text("protocol: x\ndatasets: [d]\nmetrics: [mae]\n")
    both = {"domain": "toy", "licence": "MIT", "source": "x", "size": 8}
    generator = {**both, "id": "gen", "title": "G", "kind": "generator",
                 "files": [{"name": "gen.pt", "url": server.url("gen.pt")}],
                 "parts": {"generator": {"at": "g_ema", "layout": "generator"},
                           "latent_avg": {"at": "latent_avg", "layout": "latent_avg"}}}  # fmt: skip
    encoder = {**both, "id": "enc", "title": "E", "kind": "encoder",
               "files": [{"name": "enc.pt", "url": server.url("enc.pt"), "aliases": ["other.pt"]}],
               "parts": {"encoder": {"at": "state_dict", "prefix": "encoder.", "layout": "tiny_encoder"},
                         "decoder": {"at": "state_dict", "prefix": "decoder.", "layout": "generator",
                                     "compare": "gen/generator"},
                         "latent_avg": {"at": "latent_avg", "layout": "latent_avg"}}}  # fmt: skip
    listed = {"published": [generator, encoder], "domains": {"toy": {"generator": "gen", "resolution": 8}}}
    published_path(root).write_text(yaml.safe_dump(listed))
    return root


@pytest.fixture()
def net():
    torch.manual_seed(0)
    return Generator(8, 512, 8, channels=dict.fromkeys((4, 8), 8)).eval()


@pytest.fixture()
def folder(tmp_path, net):
    """Both files in their published form."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    torch.save({"g_ema": net.state_dict(), "latent_avg": torch.ones(512)}, folder / "gen.pt")
    state = {f"decoder.{k}": v for k, v in net.state_dict().items()}
    state |= {"encoder.a.weight": torch.ones(4, 3), "encoder.a.num_batches_tracked": torch.tensor(5)}
    torch.save({"state_dict": state, "latent_avg": torch.ones(4, 512), "opts": {"lr": 1.0}}, folder / "enc.pt")
    return folder


def change(folder, name, edit, **options):
    content = torch.load(folder / name)
    edit(content)
    torch.save(content, folder / name, **options)


def bench(root, *args):
    return run_cli([args[0], "--root", str(root), *args[1:]])


def test_from_a_folder_to_a_working_generator(project, folder, net, capsys):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert bench(project, "fetch", "--from", str(folder)) == 0
    said = capsys.readouterr().err
    assert "enc: its decoder equals gen/generator bit by bit" in said and "trusted as first seen" in said
    shared = SharedGenerator.load("toy", "cpu", project)
    w = torch.randn(1, 4, 512, generator=torch.Generator().manual_seed(1))
    assert torch.equal(shared.synthesize(w), net.synthesize(w, noise="stored").float())
    assert torch.equal(shared.latent_avg, torch.ones(4, 512))
    state = manifest.load(project, "enc")
    assert set(state) == {"encoder.a.weight", "encoder.a.num_batches_tracked", "latent_avg"}
    assert state["encoder.a.num_batches_tracked"] == 5 and state["latent_avg"].shape == (4, 512)
    assert manifest.load_with_meta(project, "enc")[1]["opts"] == {"lr": 1.0}
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before  # a user's files stay as they are
    assert set(manifest.needed(project, "toy", {"toy": "enc"})) == {"gen", "enc"}


def test_a_discriminator_beside_the_generator_is_loaded_by_its_part(project, folder, monkeypatch):
    """`id/part` finds what the whole leaves out, as the training preset of the paper names it."""
    from bench.nets.image_judge import discriminator_from
    from bench.nets.stylegan2 import Discriminator

    bench(project, "fetch", "--from", str(folder), "gen")
    judge = Discriminator(8, channels=dict.fromkeys((4, 8), 8))
    shapes = {key: tuple(value.shape) for key, value in judge.state_dict().items()}
    monkeypatch.setitem(layouts.RULES, "tiny_judge", lambda: shapes)
    listed = yaml.safe_load(published_path(project).read_text())
    listed["published"][0]["parts"]["discriminator"] = {"at": "d", "layout": "tiny_judge", "optional": True}
    published_path(project).write_text(yaml.safe_dump(listed))
    with pytest.raises(WeightsError, match="have no part 'discriminator'; expected generator, latent_avg") as error:
        manifest.load(project, "gen/discriminator")
    assert error.value.fix is None, "fetching again finds none: who asks for it says how to do without"
    change(folder, "gen.pt", lambda content: content.update(d=judge.state_dict()))
    lock_path(project).unlink()
    assert bench(project, "fetch", "--from", str(folder), "gen") == 0
    assert not any(key.startswith("convs.0.0") for key in manifest.load(project, "gen"))
    loaded = discriminator_from(manifest.load(project, "gen/discriminator"), "d")
    assert loaded.size == 8 and all(torch.equal(v, judge.state_dict()[k]) for k, v in loaded.state_dict().items())


def test_the_paper_s_preset_names_weights_that_are_listed():
    root = Path(__file__).parents[3]
    presets = [path for name in ("paper", "release") for path in (root / "weights" / name).glob("*.yaml")]
    for path in presets:
        options = yaml.safe_load(path.read_text())["options"]
        for name in ("trunk", "recogniser", "discriminator", "base_weights"):
            weights_id, _, part = options.get(name, "").partition("/")
            if weights_id:
                assert not part or part in read_published(root).entry(weights_id).parts, path
                assert weights_id in read_published(root).ids, path


def test_both_formats_give_equal_parts(project, folder):
    parts = []
    for new in (True, False):
        change(folder, "enc.pt", lambda c: None, _use_new_zipfile_serialization=new)
        lock_path(project).unlink(missing_ok=True)
        fetch.fetch(project, "enc", folder)
        parts.append(read_lock(project)["enc"].parts)
    assert parts[0] == parts[1]
    assert torch.equal(load.load_part(project, "enc", "encoder")[0]["a.weight"], torch.ones(4, 3))


def test_downloaded_then_cleaned_up(project, folder, server, capsys):
    server.files |= {p.name: p.read_bytes() for p in folder.iterdir()}
    server.faults = [5000]
    assert manifest.status(project, "gen") == "absent"
    assert bench(project, "fetch", "gen", "enc") == 0
    assert manifest.status(project, "gen") == manifest.status(project, "enc") == "present"
    assert not [p for p in (project / "weights" / "cache").rglob("*") if p.is_file()]
    requests = len(server.log)
    assert bench(project, "fetch", "gen") == 0 and len(server.log) == requests
    assert "gen: already here" in capsys.readouterr().err


def test_kept_originals(project, folder, server):
    server.files["gen.pt"] = (folder / "gen.pt").read_bytes()
    assert bench(project, "fetch", "--keep", "gen") == 0
    assert (project / "weights" / "cache" / "gen" / "gen.pt").read_bytes() == server.files["gen.pt"]


def test_trust_on_first_use(project, folder, server, capsys):
    """The first file is recorded; another one under its name is an error from then on, wherever it comes from."""
    fetch.fetch(project, "gen", folder)
    recorded = read_lock(project)["gen"].files["gen.pt"].sha256
    (project / "weights" / "published" / "gen" / "generator.safetensors").unlink()  # a fresh checkout has the lock only
    change(folder, "gen.pt", lambda c: c.update(latent_avg=torch.zeros(512)))
    assert bench(project, "fetch", "--from", str(folder), "gen") == 2
    said = capsys.readouterr().err
    assert f"{recorded}, recorded in weights/lock.yaml" in said and said.count("\n") == 1
    assert (folder / "gen.pt").is_file()
    server.files["gen.pt"] = (folder / "gen.pt").read_bytes()
    assert bench(project, "fetch", "gen") == 2
    assert not (project / "weights" / "cache" / "gen" / "gen.pt").exists()  # the next attempt must not meet it again
    assert read_lock(project)["gen"].files["gen.pt"].sha256 == recorded


@pytest.mark.parametrize(("known", "message"), [
    ({"sha256": "0" * 64}, "sha256"),
    ({"sha256": "0123abcd"}, r"0123abcd\.\.\."),
    ({"size_bytes": 5}, "expected 5 bytes"),
])  # fmt: skip
def test_what_the_list_knows_is_enforced(project, folder, known, message):
    listed = yaml.safe_load(published_path(project).read_text())
    listed["published"][0]["files"][0].update(known)
    published_path(project).write_text(yaml.safe_dump(listed))
    with pytest.raises(WeightsError, match=f"is not the gen.pt that 'gen' means.*{message}"):
        fetch.fetch(project, "gen", folder)
    assert not lock_path(project).exists() and not (project / "weights" / "published").exists()


def test_a_wrong_file_leaves_nothing(project, folder, server, capsys):
    change(folder, "enc.pt", lambda c: c["state_dict"].pop("decoder.noises.noise_0"))
    server.files["enc.pt"] = (folder / "enc.pt").read_bytes()
    assert bench(project, "fetch", "enc") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: enc.pt does not have the layout") and said.count("\n") == 1
    assert manifest.status(project, "enc") == "absent" and not (project / "weights" / "published").exists()
    assert left(project / "weights" / "cache" / "enc" / "x") == ["enc.pt.refused"]


def test_a_different_generator_is_reported(project, folder, capsys):
    def edit(content):
        content["state_dict"]["decoder.noises.noise_0"] += 0.25

    change(folder, "enc.pt", edit)
    assert bench(project, "fetch", "--from", str(folder), "enc") == 0  # nothing to compare with yet
    assert "decoder" not in capsys.readouterr().err
    assert bench(project, "fetch", "--from", str(folder), "gen") == 0
    said = capsys.readouterr().err
    assert "differs from gen/generator in 1 of" in said and "noises.noise_0" in said and "difference 0.25" in said
    assert read_lock(project)["enc"].compared["decoder"].differing == ["noises.noise_0"]
    assert bench(project, "fetch", "--from", str(folder), "gen") == 0
    assert "differs" not in capsys.readouterr().err  # said once, recorded


def test_a_changed_part_is_not_loaded(project, folder):
    fetch.fetch(project, "enc", folder)
    path = project / "weights" / "published" / "enc" / "encoder.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="not the file that was fetched.*bench fetch --again enc"):
        manifest.load(project, "enc")
    fetch.fetch(project, "enc", folder, again=True)
    assert manifest.load(project, "enc")["encoder.a.weight"].sum() == 12


def test_absent_weights_say_how_to_get_them(project):
    with pytest.raises(WeightsError, match="'enc' .E. are not here.*bench fetch enc.*--from"):
        manifest.load(project, "enc")
    with pytest.raises(WeightsError, match="'gen'.*are not here"):
        SharedGenerator.load("toy", "cpu", project)


def test_several_wishes_one_failure(project, folder, capsys):
    (folder / "enc.pt").unlink()
    assert bench(project, "fetch", "--from", str(folder), "gen", "enc") == 2
    said = capsys.readouterr().err
    assert "gen: ready" in said and "! enc:" in said and "error: 1 of 2 could not be fetched" in said


def test_names_and_folders(project, folder, tmp_path, capsys):
    (folder / "enc.pt").rename(folder / "other.pt")  # an alias
    assert bench(project, "fetch", "--from", str(folder)) == 0
    assert manifest.status(project, "enc") == "present"
    for arguments, message in (
        (("--from", str(tmp_path / "none")), "is no folder"),
        (("--from", str(project)), "holds no complete set"),
        (("gne",), "did you mean 'gen'"),
    ):
        capsys.readouterr()
        assert bench(project, "fetch", *arguments) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1


def test_listing_and_dry_run(project, folder, capsys):
    fetch.fetch(project, "gen", folder)
    assert bench(project, "ls", "weights", "--json") == 0
    listed = {e["id"]: e["status"] for e in json.loads(capsys.readouterr().out)["weights"]}
    assert listed == {"gen": "present", "enc": "absent"}
    assert bench(project, "fetch", "--dry-run", "gen", "enc") == 0
    out = capsys.readouterr().out
    assert "gen: present" in out and "enc: absent; enc.pt" in out and manifest.status(project, "enc") == "absent"


def test_a_damaged_lock_is_not_rebuilt(project, folder):
    fetch.fetch(project, "gen", folder)
    lock_path(project).write_text("gen: {files: 3}")
    with pytest.raises(WeightsError, match=r"lock\.yaml is not valid.*git checkout"):
        fetch.fetch(project, "gen", folder)


def test_raw_parts_are_taken_out_of_their_archive(project, tmp_path):
    import zipfile

    listed = yaml.safe_load(published_path(project).read_text())
    pack = {"id": "pack", "title": "P", "kind": "identity", "licence": "MIT", "source": "x",
            "files": [{"name": "pack.zip", "url": "https://a/pack.zip"}],
            "parts": {"net": {"raw": True, "member": "in/net.onnx"}}}  # fmt: skip
    published_path(project).write_text(yaml.safe_dump({"published": [*listed["published"], pack]}))
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("in/net.onnx", b"onnx bytes")
        archive.writestr("../evil", b"no")
    fetch.fetch(project, "pack", tmp_path)
    assert load.part_path(project, "pack", "net").read_bytes() == b"onnx bytes"
    assert not (project / "weights" / "evil").exists()
    with pytest.raises(WeightsError, match="hold no tensors"):
        manifest.load(project, "pack")
