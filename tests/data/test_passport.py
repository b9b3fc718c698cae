"""Passports: text, hashes, and the command line."""

import dataclasses
import json

import pytest

import bench
from core.schema import InvalidData
from data.benchmark import BENCHMARKS, Source
from data.datasets.listed import ListedBenchmark
from data.lists.longtail import fingerprint
from data.passport import Passport, passport_of

OFFICIAL = Source("CIFAR-100, official release", "md5 0123456789abcdef of all")


@pytest.fixture(scope="module")
def of(cifar10_labels, cifar100_labels):
    """Makes the passport of a split of a CIFAR benchmark."""
    known = {"cifar10lt": cifar10_labels, "cifar100lt": cifar100_labels}

    def make(name="cifar100lt", profile="sdclr", split=1, source=OFFICIAL):
        benchmark = BENCHMARKS[name]()
        return passport_of(benchmark, profile, split, known[name], benchmark.lists(known[name], profile, split), source)

    return make


def test_passport_text(of, cifar100_labels):
    passport = of()
    assert passport.line == (
        "cifar100lt (profile sdclr): 9754 images, 450 to 4 of a class, ratio 112.5; CIFAR-100, official release, "
        "md5 0123456789ab"
    )
    text = passport.text()
    assert f"PASSPORT {passport.short}: cifar100lt, variant exp-450-4, split 1\n" in text
    assert "many (largest third): 34; medium (middle third): 33; few (smallest third): 33" in text
    assert "many (more than 100 images): 33; medium (20 to 100): 34; few (fewer than 20): 33" in text
    assert " 100; class counts: 4 5 9 234 25 257 106 450 " in text
    assert "split     1, official\n" in text
    lists = BENCHMARKS["cifar100lt"]().lists(cifar100_labels, "sdclr", 1)
    for name, indices in vars(lists).items():
        assert f"  {name:10}{len(indices)} images, sha256 {fingerprint(indices)}" in text
    assert max(map(len, text.splitlines())) <= 128


def test_an_empty_group_is_printed_as_empty(of):
    assert "medium (20 to 100): 2; few (fewer than 20): EMPTY" in of("cifar10lt").text()


def test_the_text_names_what_this_suite_defines(of):
    assert "defined by this suite" in of(split=6).text()
    assert "defined by this suite" in of(profile="ir=50").text()
    assert "defined by this suite" in of(profile="gh", split=2).text()
    assert "1, official" in of(profile="gh").text()


def test_splits_share_the_line_and_nothing_else_does(of):
    surrogate = Source("CIFAR-100 from sheets, surrogate order", "sha256 00 of sheets")
    first, *others = [
        of(), of(split=2), of(profile="ir=50"), of(profile="gh"), of(source=surrogate), of("cifar10lt"),
    ]  # fmt: skip
    assert len({first.short, *(other.short for other in others)}) == 6
    assert others[0].line == first.line
    assert len({first.line, *(other.line for other in others[1:])}) == 5


def test_wording_is_no_part_of_the_hash(of):
    passport = of()
    reworded = dataclasses.replace(passport, about="other words", source=Source("other words", OFFICIAL.checksum))
    assert reworded.short == passport.short
    for field, value in (("counts", (1, 2)), ("lists", {}), ("source", Source(OFFICIAL.name, "md5 1 of all")), ("split", 2)):
        assert dataclasses.replace(passport, **{field: value}).short != passport.short


def test_the_command_line_prints_passports_of_existing_data(tmp_path, capsys):
    asked = ["list", "--datasets", "digitslt", "cifar100lt", "--passport", "--splits", "2", "3", "--data-root", str(tmp_path)]
    assert bench.main(asked) == 0
    second, third, missing = capsys.readouterr().out.strip().split("\n\n")
    assert "digitslt, variant own, split 2\n" in second
    assert "digitslt, variant own, split 3\n" in third
    assert missing.startswith(f"MISSING DATA: cifar100lt (variant exp-450-4): CIFAR-100 is not in {tmp_path}")
    assert "\n" not in missing
    assert list(tmp_path.iterdir()) == []


def test_list_prints_variants_and_copies_of_selected_datasets(tmp_path, capsys):
    assert bench.main(["list", "--datasets", "cifar*", "--data-root", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "METHODS" not in printed
    assert "variant exp-450-4 (in files: sdclr): 9754 images, splits 1 to 1000 (official: 1 to 5)" in printed
    assert "variant ir=NUMBER: any other imbalance ratio" in printed
    assert "images: missing" in printed


@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_every_benchmark_declares_what_its_passport_needs(name):
    benchmark = BENCHMARKS[name]()
    for label, profile in benchmark.profiles.items():
        assert 0 <= profile.official <= profile.splits
        assert benchmark.profile(label) == label
        if isinstance(benchmark, ListedBenchmark):
            role = "balanced" if label == "balanced" else "pretrain"
            assert profile.counts == ()  # its list tells
            assert role in benchmark.files
            assert (benchmark.size(label) > 0) == (benchmark.classes is not None) == (benchmark.files[role].images is not None)
        else:
            assert len(profile.counts) == len(benchmark.class_names) >= 3
            assert sum(profile.counts) == benchmark.size(label) > 0


def test_a_balanced_set_is_called_so_and_grouped_as_the_long_tailed(of):
    passport, longtailed = of("cifar10lt", "balanced"), of("cifar10lt")
    assert passport.line.startswith("cifar10lt (profile balanced): 11160 images, 1116 of every class, ratio 1; CIFAR-100, ")
    counts = " ".join(map(str, longtailed.counts))
    assert f"  groups    class counts of the long-tailed set: {counts}\n" in passport.text()
    assert "many (more than 100 images): 8; medium (20 to 100): 2; few (fewer than 20): EMPTY" in passport.text()
    assert "groups    class counts" not in longtailed.text()
    assert "1, official\n" in passport.text()
    assert of("cifar10lt", "ir=1,n=3000").official is False


@pytest.mark.parametrize("profile", ["sdclr", "balanced"])
def test_what_training_depends_on_is_no_list_of_the_probes(of, profile):
    passport = of(profile=profile)
    lists = {
        name: (length, "0" * 64) if name != "pretrain" else (length, digest)
        for name, (length, digest) in passport.lists.items()
    }
    probed = dataclasses.replace(passport, lists=lists)
    assert probed.pretraining == passport.pretraining
    assert probed.short != passport.short
    trained = dataclasses.replace(passport, lists={**passport.lists, "pretrain": (3, "0" * 64)})
    others = [of(profile="gh"), of(profile=profile, split=2), of("cifar10lt", profile)]
    others.append(of(profile=profile, source=Source(OFFICIAL.name, "md5 1 of all")))
    assert len({passport.pretraining, trained.pretraining, *(other.pretraining for other in others)}) == 6


def test_hashes_stay_what_they_were(of):
    """Existing runs depend on these hashes; older passports have the short hash only."""
    assert of("cifar10lt").short == "2ad6b15a5b73"
    assert of().short == "3d19477aa45f"


@pytest.mark.parametrize("profile", ["sdclr", "balanced"])
def test_json_is_read_back(of, profile):
    passport = of(profile=profile)
    assert Passport.from_json(json.loads(json.dumps(passport.to_json()))) == passport


def test_of_two_passports_only_changed_lists_are_named(of):
    passport = of(profile="balanced")
    more = dataclasses.replace(passport, lists={**passport.lists, "more": (3, "0" * 64)})
    assert passport.same_training_data(more)
    assert passport.changed_lists(more) == []
    assert more.changed_lists(passport) == ["more"]
    assert passport.changed_lists(dataclasses.replace(passport, lists={**passport.lists, "val": (3, "0" * 64)})) == ["val"]
    assert not passport.same_training_data(of(split=2))


def _changes(content):
    """Every way in which one field of a passport's JSON can be lost or changed to another value of its type."""
    for name in content.keys() - {"group_counts", "class_names"}:  # which have defaults; the first is hashed
        yield f"without {name}", {key: value for key, value in content.items() if key != name}
    for name, value in (("split", 2), ("benchmark", "other"), ("format", 2), ("passport", "0" * 12), ("counts", [1, 2])):
        yield f"another {name}", {**content, name: value}
    yield "another list", {**content, "lists": {**content["lists"], "pretrain": [3, "0" * 64]}}
    yield "another checksum", {**content, "source": {**content["source"], "checksum": "md5 1 of all"}}
    yield "no object", []


def test_changed_json_is_refused(of):
    for what, content in _changes(of().to_json()):
        with pytest.raises(InvalidData):
            print(what, Passport.from_json(json.loads(json.dumps(content))))
