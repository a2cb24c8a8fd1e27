"""Dataset manifests: every broken rule is one line that names file, entry and rule."""

import csv

import pytest
import yaml

from bench.data.manifest import INLINE, ImageEntry, Manifest, load_manifest, save_manifest
from bench.errors import BenchError, DataError, UnknownName, duplicates, name_some

HASH = "0" * 64


def content(**changes):
    raw = {
        "id": "heads",
        "domain": "toy",
        "kind": "rendered",
        "resolution": 32,
        "licence": "CC0",
        "hash": "pixels",
        "count": 2,
        "render": {"renderer_version": "1", "split": "test", "seed": 0},
        "images": [{"id": "000000", "sha256": HASH}, {"id": "000001", "sha256": "1" * 64}],
    }
    raw.update(changes)
    return {k: v for k, v in raw.items() if v is not None}


def write(root, raw, name="heads"):
    (root / "datasets").mkdir(exist_ok=True)
    (root / "datasets" / f"{name}.yaml").write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw))


def test_reads_what_it_says(tmp_path):
    write(tmp_path, content())
    manifest = load_manifest(tmp_path, "heads")
    assert manifest.ids == ["000000", "000001"]
    assert manifest.pixel_hashes() == {"000000": HASH, "000001": "1" * 64}
    assert (manifest.info.domain, manifest.info.resolution, manifest.info.count) == ("toy", 32, 2)
    assert (
        manifest.select(1) == ["000000"]
        and manifest.select(None) == manifest.ids
        and manifest.select(9) == manifest.ids
    )


BROKEN = {
    "missing key": (content(domain=None), "domain: field required"),
    "unknown key": (content(colour="red"), "colour"),
    "wrong kind": (content(kind="drawn"), "kind"),
    "no images": (content(images=None), "got 0; expected count 2"),
    "wrong count": (content(count=3), "got 2; expected count 3"),
    "duplicate ids": (content(images=[{"id": "7", "sha256": HASH}] * 2), "twice; got 7"),
    "short hash": (
        content(images=[{"id": "a", "sha256": "ab"}, {"id": "b", "sha256": HASH}]),
        "malformed hashes; got a",
    ),
    "upper-case hash": (content(images=[{"id": "a", "sha256": "A" * 64}, {"id": "b", "sha256": HASH}]), "malformed"),
    "no hash": (content(images=[{"id": "a"}, {"id": "b", "sha256": HASH}]), "images.0.sha256"),
    "id with slash": (
        content(images=[{"id": "../a", "sha256": HASH}, {"id": "b", "sha256": HASH}]),
        "file names; got ../a",
    ),
    "no render section": (content(render=None), "without 'render'"),
    "other id": (content(id="faces"), "names another dataset; got faces"),
    "bad domain": (content(domain="My Domain"), "cannot be the id of a domain"),
    "tiny": (content(resolution=2), "resolution"),
    "zero": (content(count=0), "count"),
    "not a mapping": ("- 1\n- 2\n", "is not a mapping"),
    "not yaml": ("id: [", "is not YAML"),
    "absent sidecar": (content(images=None, images_file="heads.csv"), "heads.csv of heads.yaml is missing"),
}


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({}, "bench prepare --dataset heads --update"),
        ({"kind": "folder", "render": None, "folder": {"numbers": {"first": 0, "last": 1}}}, "heads --images DIR"),
    ],
    ids=["rendered", "numbered"],
)
def test_an_absent_list_is_written_by_the_command_that_is_named(tmp_path, changes, command):
    """Pictures that may not be passed on are known by numbers: no update of ours can bring them."""
    write(tmp_path, content(images=None, images_file="heads.csv", **changes))
    with pytest.raises(DataError) as caught:
        load_manifest(tmp_path, "heads")
    assert f"`bench prepare --dataset heads{command.split('heads')[1]}`" in str(caught.value)
    (tmp_path / "datasets" / "heads.csv").write_text("no table")
    with pytest.raises(DataError, match="--images DIR --update" if changes else "heads --update"):
        load_manifest(tmp_path, "heads")


@pytest.mark.parametrize("raw, words", BROKEN.values(), ids=BROKEN)
def test_broken_rules(tmp_path, raw, words):
    write(tmp_path, raw)
    with pytest.raises(BenchError) as caught:
        load_manifest(tmp_path, "heads")
    text = str(caught.value)
    assert words in text and "\n" not in text


def test_unknown_dataset_suggests(tmp_path):
    write(tmp_path, content())
    with pytest.raises(UnknownName, match="did you mean 'heads'"):
        load_manifest(tmp_path, "haeds")


def test_limit_must_select_something(tmp_path):
    write(tmp_path, content())
    manifest = load_manifest(tmp_path, "heads")
    for limit in (0, -3):
        with pytest.raises(BenchError, match="--limit selects no image"):
            manifest.select(limit)


def entries(count):
    return [ImageEntry(id=f"{n:06d}", sha256=f"{n:064x}") for n in range(count)]


@pytest.mark.parametrize("count", [2, INLINE, INLINE + 1])
def test_save_and_load_agree(tmp_path, count):
    manifest = Manifest.model_validate(
        content(images=[e.model_dump(exclude_none=True) for e in entries(count)], count=count)
    )
    path = save_manifest(tmp_path, manifest)
    assert path.with_suffix(".csv").is_file() == (count > INLINE)
    back = load_manifest(tmp_path, "heads")
    assert back.ids == manifest.ids and back.sha256 == manifest.sha256
    first = path.read_bytes()
    save_manifest(tmp_path, back)
    assert path.read_bytes() == first


def test_ids_stay_text(tmp_path):
    """YAML and CSV must not turn 000017 into 17 or 1e5 into a float."""
    images = [{"id": i, "sha256": HASH} for i in ("000017", "1e5", "null", "true", "08", "ä b")]
    save_manifest(tmp_path, Manifest.model_validate(content(images=images, count=6)))
    assert load_manifest(tmp_path, "heads").ids == ["000017", "1e5", "null", "true", "08", "ä b"]


def test_hash_sees_content_not_layout(tmp_path):
    write(tmp_path, content())
    before = load_manifest(tmp_path, "heads").sha256
    path = tmp_path / "datasets" / "heads.yaml"
    path.write_text("# a comment\n" + yaml.safe_dump(content(licence="MIT"), sort_keys=False))
    assert load_manifest(tmp_path, "heads").sha256 == before
    write(tmp_path, content(images=[{"id": "000000", "sha256": HASH}, {"id": "000001", "sha256": "2" * 64}]))
    assert load_manifest(tmp_path, "heads").sha256 != before


def test_empty_manifest_only_for_update(tmp_path):
    write(tmp_path, content(images=None))
    assert load_manifest(tmp_path, "heads", allow_empty=True).images == []
    with pytest.raises(DataError, match="--update"):
        load_manifest(tmp_path, "heads")


def test_sidecar_needs_its_columns(tmp_path):
    write(tmp_path, content(images=None, images_file="heads.csv"))
    with open(tmp_path / "datasets" / "heads.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([["name", "hash"], ["a", HASH]])
    with pytest.raises(DataError, match="lacks columns"):
        load_manifest(tmp_path, "heads")


DAMAGE = {
    "not UTF-8": b"id,sha256\n\xff\xfe,1\n",
    "torn quote": b'id,sha256\n"000000,0',
    "garbage after a quote": b'id,sha256\n"0"0,1\n',
    "huge field": b"id,sha256\n" + b"0" * 200_000 + b",1\n",
}


@pytest.mark.parametrize("data", DAMAGE.values(), ids=DAMAGE)
def test_damaged_sidecar_is_named(tmp_path, data):
    write(tmp_path, content(images=None, images_file="heads.csv"))
    (tmp_path / "datasets" / "heads.csv").write_bytes(data)
    with pytest.raises(
        DataError, match="heads.csv cannot be read; got .*bench prepare --dataset heads --update"
    ) as caught:
        load_manifest(tmp_path, "heads")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["../heads.csv", "a/b.csv"])
def test_sidecar_lies_beside_its_manifest(tmp_path, name):
    write(tmp_path, content(images=None, images_file=name))
    with pytest.raises(DataError, match="expected a file beside it"):
        load_manifest(tmp_path, "heads")


def test_yaml_that_python_cannot_hold(tmp_path):
    write(tmp_path, "id: 2020-13-45\n")
    with pytest.raises(DataError, match="is not YAML; got month must be in 1..12"):
        load_manifest(tmp_path, "heads")


def test_list_left_alone(tmp_path):
    """For --update, which writes it anew: neither its state nor its absence matters."""
    for images in (None, [{"id": "a"}], [{"id": "a", "sha256": "x"}] * 3, "junk"):
        write(tmp_path, content(images=images))
        assert load_manifest(tmp_path, "heads", images=False).images == []


def test_folder_kind_needs_prepared_hashes(tmp_path):
    raw = content(kind="folder", hash="file", render=None, folder={"source": "pictures"})
    write(tmp_path, raw)
    with pytest.raises(DataError, match="malformed hashes"):
        load_manifest(tmp_path, "heads")


def test_helpers():
    assert name_some("abc") == "a, b, c" and name_some(map(str, range(12)), 2) == "0, 1 and 10 more"
    assert duplicates(["a", "b", "a", "a", "c", "b"]) == ["a", "b"]
