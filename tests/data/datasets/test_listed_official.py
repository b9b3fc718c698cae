"""Published benchmarks with index files: declarations, official lists if available, iNaturalist annotations, photographs."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.datasets.inat18 import read_annotations
from data.datasets.listed import ListFile
from data.lists.index_file import read_index_file
from data.loader import Loader
from data.views.torch_backend import TorchViews
from eval.groups import grouped
from tests.conftest import GOLDEN

SHARED = Path(__file__).parents[4] / "shared"
LISTED = ("imagenet100lt", "imagenetlt", "placeslt", "inat18", "folderlt")
OFFICIAL = {"imagenet100lt": "imagenet-100", "imagenetlt": "imagenet-lt", "placeslt": "places-lt"}


@pytest.mark.parametrize("name", LISTED)
def test_every_declaration_is_whole(name, tmp_path):
    benchmark = BENCHMARKS[name]()
    assert {"pretrain", "test"} <= set(benchmark.files)
    assert benchmark.recipe.sizes == (224,)
    assert (benchmark.evaluation.resize, benchmark.evaluation.crop) == (256, 224)
    assert (benchmark.view.crop_scale, benchmark.view.blur_p) == ((0.08, 1.0), 0.5)
    for declared in benchmark.files.values():
        assert (declared.url is None) == (name == "folderlt")
        assert declared.url is None or declared.url.startswith("https://")
        assert declared.url is None or declared.url.rsplit("/")[-1].startswith(declared.name)
        assert declared.checksum is None or len(declared.checksum) in (len("sha256:") + 64, len("md5:") + 32)
    assert "missing" in benchmark.describe_copy(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_networks_are_transformed_images_at_the_size_of_their_views():
    benchmark = BENCHMARKS["folderlt"]
    small = benchmark.evaluation_of(replace(benchmark.recipe, sizes=(56, 84, 112)))
    assert (small.resize, small.crop) == (128, 112)
    assert benchmark.evaluation_of(benchmark.recipe) == benchmark.evaluation
    assert BENCHMARKS["cifar10lt"].evaluation_of(replace(benchmark.recipe, sizes=(16,))).crop is None


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_lists_are_what_the_declaration_says(name):
    folder = SHARED / "splits" / OFFICIAL[name]
    if not folder.is_dir():
        pytest.skip(f"the official lists are not at {folder}")
    benchmark = BENCHMARKS[name]()
    facts = {Path(file).name: known for file, known in json.loads((folder.parent / "facts.json").read_text())["files"].items()}
    found = [declared for declared in benchmark.files.values() if (folder / declared.name).is_file()]
    assert len(found) >= 3
    for declared in found:
        benchmark._read(folder / declared.name, declared)
        assert declared.checksum == f"sha256:{facts[declared.name]['sha256_file']}"
        assert declared.images == facts[declared.name]["lines"]


@pytest.mark.parametrize(("name", "groups"), [("imagenet100lt", (39, 48, 13)), ("placeslt", (131, 163, 71))])
def test_the_groups_of_the_official_lists(name, groups):
    counts = json.loads((GOLDEN / "listed_class_counts.json").read_text())[name]
    benchmark = BENCHMARKS[name]()
    declared = benchmark.files["pretrain"]
    assert (sum(counts), min(counts), max(counts)) == (declared.images, declared.smallest, declared.largest)
    assert len(counts) == benchmark.classes
    assert benchmark.groups == "number"
    assert tuple(map(len, grouped(counts, benchmark.groups))) == groups
    file = SHARED / "splits" / OFFICIAL[name] / declared.name
    if file.is_file():
        assert np.bincount(read_index_file(file).labels).tolist() == counts


# iNaturalist's form


def _annotations(**changes):
    content = {
        "images": [{"id": 10 + i, "file_name": f"train_val2018/Aves/{i % 2}/{i}.jpg"} for i in range(4)],
        "annotations": [{"id": i, "image_id": 10 + i, "category_id": i % 2} for i in reversed(range(4))],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
    }
    return content | changes


def test_annotations_are_joined_by_their_ids(tmp_path):
    file = tmp_path / "train2018.json"
    file.write_text(json.dumps(_annotations()))
    listing = read_annotations(file)
    assert listing.names[2] == "train_val2018/Aves/0/2.jpg"
    assert listing.labels.tolist() == [0, 1, 0, 1]
    assert listing.at(2) == f"{file}, image 3"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps(_annotations())[:-20], "truncated or not an annotation file"),
        (json.dumps({"images": []}), "missing required field `annotations`"),
        (json.dumps([]), "truncated or not an annotation file"),
        (json.dumps(_annotations(annotations=_annotations()["annotations"][1:])), "3 annotations for 4 images"),
        (json.dumps(_annotations(categories=[{"id": 0}])), "image 2: the category 1 is not in its categories"),
    ],
)
def test_a_wrong_annotation_file_is_reported(tmp_path, content, said):
    (tmp_path / "train2018.json").write_text(content)
    with pytest.raises(UserError, match=said):
        read_annotations(tmp_path / "train2018.json")


def test_inaturalist_is_read_from_its_annotation_files(tmp_path, monkeypatch, photographs):
    declared = BENCHMARKS["inat18"]
    monkeypatch.setattr(declared, "classes", 2)
    monkeypatch.setattr(declared, "files", {role: ListFile(f.name, f.url, f.checksum) for role, f in declared.files.items()})
    folder = tmp_path / "inat18"
    folder.mkdir()
    train, test = _annotations(), _annotations()
    for image in test["images"]:
        image["file_name"] = image["file_name"].replace(".jpg", "-test.jpg")
    for name, content in (("train2018.json", train), ("val2018.json", test)):
        (folder / name).write_text(json.dumps(content))
    for image in train["images"] + test["images"]:
        (folder / image["file_name"]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photographs[0].permute(1, 2, 0).numpy()).save(folder / image["file_name"])
    benchmark = declared()
    images = benchmark.load(tmp_path)
    lists = benchmark.lists(images.train_labels, "official", 1)
    assert (len(lists.pretrain), len(lists.train), len(lists.val)) == (4, 2, 2)
    assert len(images.test) == 4
    assert benchmark.class_names == ("0", "1")
    assert benchmark.missing_lists(tmp_path) == {"fewshot", "balanced", "shot100"}


def test_annotation_files_are_fetched_out_of_their_archives(tmp_path, monkeypatch):
    def retrieve(url, known, scratch):
        name = url.rsplit("/", 1)[1].removesuffix(".tar.gz")
        (scratch / name).write_text(json.dumps(_annotations()))
        with tarfile.open(scratch / "archive.tar.gz", "w:gz") as tar:
            tar.add(scratch / name, name)
        assert known.startswith("md5:")
        return str(scratch / "archive.tar.gz")

    monkeypatch.setattr("data.sources.fetch._retrieve", retrieve)
    with pytest.raises(UserError, match=r"train2018\.json has 4 images, not 437,513"):
        BENCHMARKS["inat18"]().load(tmp_path)
    names = {file.name for file in (tmp_path / "inat18").iterdir()}
    assert names == {".fetch.lock", "train2018.json", "val2018.json"}


# real photographs


def test_real_photographs_are_read_through_the_loader():
    if not (SHARED / "data" / "imagenette-lt").is_dir():
        pytest.skip("no folder imagenette-lt")
    benchmark = BENCHMARKS["folderlt"]()
    benchmark.lists_folder = benchmark.images_folder = "imagenette-lt"
    images = benchmark.load(SHARED / "data")
    lists = benchmark.lists(images.train_labels, "own", 1)
    assert (len(lists.pretrain), len(lists.train), len(lists.val), len(images.test)) == (1357, 540, 60, 500)
    assert np.bincount(images.train_labels[lists.pretrain]).tolist() == [400, 286, 205, 147, 105, 75, 54, 38, 27, 20]
    loader = Loader(images.train[lists.pretrain[::200]], TorchViews((benchmark.view, benchmark.view)), batch_size=4, seed=0)
    batches = list(loader.epoch(0, size=64))
    assert torch.cat([batch.index for batch in batches]).sort().values.tolist() == list(range(7))
    assert all(torch.isfinite(view).all() and view.shape[1:] == (3, 64, 64) for batch in batches for view in batch.views)
    assert not loader.unreadable
