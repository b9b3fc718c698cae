"""Names of variants: distinct from methods and probes, and accepted beside the stored names, which do not change."""

import pytest

import bench
from data.benchmark import BENCHMARKS
from data.variants import _VARIANTS, profile_of, variant_of, with_variants
from eval.probes import PROBES
from grid.options import GridOptions
from grid.options_file import read_options
from grid.plan import make_plan
from methods import METHODS
from training.config import resolve

RUN_IDS = {  # of earlier versions, by benchmark, variant and stored name
    ("cifar10lt", "exp-4500-45", "sdclr"): "e4b65572bc1a",
    ("cifar10lt", "exp-5000-50", "cao"): "cfcbe069a1af",
    ("cifar100lt", "exp-450-4", "sdclr"): "588919fe0142",
    ("cifar100lt", "exp-500-5", "gh"): "4cf0dc693f35",
    ("imagenet100lt", "pareto-1280-6", "sdclr"): "e7e340c20d0f",
    ("cifar10lt", "balanced", "balanced"): "d24f96b5c1d1",
    ("cifar10lt", "ir=50", "ir=50"): "015003c091ec",
}


@pytest.mark.parametrize("name", [name for name, _ in BENCHMARKS])
def test_a_variant_has_a_name_of_its_own(name):
    benchmark = BENCHMARKS[name]()
    taken = {name for registry in (METHODS, PROBES, BENCHMARKS) for name, _ in registry}
    assert len(set(benchmark.variants())) == len(benchmark.profiles)
    for profile, variant in zip(benchmark.profiles, benchmark.variants(), strict=True):
        assert variant not in taken
        assert variant == variant_of(name, profile)
        assert benchmark.profile(variant) == benchmark.profile(profile) == profile


def test_every_listed_profile_exists():
    for dataset, profile in _VARIANTS:
        assert profile in BENCHMARKS[dataset].profiles


@pytest.mark.parametrize(("place", "run_id"), RUN_IDS.items(), ids=lambda value: str(value))
def test_both_names_give_the_stored_name_and_the_run_id_of_earlier_versions(place, run_id):
    dataset, variant, profile = place
    for name in (variant, profile):
        config = resolve(method="simclr", dataset=dataset, profile=name, preset="cpu", precision="fp32")
        assert (config.profile, config.variant, config.run_id) == (profile, variant, run_id)
        assert config.to_json()["profile"] == profile
        assert "variant" not in config.to_json()


@pytest.mark.parametrize(
    "words", [["--profiles", "cao", "ir=50"], ["--variants", "exp-5000-50", "ir=50"], ["--profiles=cao,ir=50"]]
)
def test_the_earlier_option_plans_the_same_runs(words, tmp_path, capsys):
    assert bench.main(["plan", "--methods", "simclr", "--device", "cpu", "--out", str(tmp_path), *words]) in (0, 2)
    planned = capsys.readouterr().out
    expected = make_plan(GridOptions(methods=["simclr"], variants=["exp-5000-50", "ir=50"], device="cpu", out=tmp_path))
    assert all(f"{run.path.name}  variant {run.config.variant}" in planned for run in expected.runs)
    assert "profile" not in planned


def test_the_earlier_option_is_in_no_help(capsys):
    for command in ("run", "probe", "list"):
        bench.main([command, "--help"])
        printed = capsys.readouterr().out
        assert "--variant" in printed
        assert "--profile" not in printed


@pytest.mark.parametrize("key", ["profiles", "variants"])
def test_files_of_options_have_either_name(key, tmp_path):
    (tmp_path / "a.yaml").write_text(f"{key}: [cao]\n")
    assert read_options(tmp_path / "a.yaml") == {"--variants": ["cao"]}


def test_a_stored_text_gets_the_names_of_variants():
    text = "cifar10lt (profile sdclr), split 2; x (profile sdclr): 7 images (of x); cifar100lt (profile ir=10,n=500)"
    assert with_variants(text) == (
        "cifar10lt (variant exp-4500-45), split 2; x (variant sdclr): 7 images (of x); cifar100lt (variant ir=10,n=500)"
    )
    assert profile_of("cifar100lt", "exp-4500-45") == "exp-4500-45"
