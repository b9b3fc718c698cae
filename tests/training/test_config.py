from contextlib import nullcontext

import pytest
import torch

from core.errors import UserError
from tests.runs import small_config
from training.config import resolve
from training.device import choose_precision


def _resolve(**changes):
    settings = {"method": "simclr", "dataset": "cifar10lt", "profile": None, "split": 1, "seed": 0, "preset": "paper"}
    settings |= {"precision": "fp32", "recipe_changes": {}, "hparam_changes": {}}
    return resolve(**settings | changes)


def test_the_paper_preset_is_the_protocol():
    config = _resolve()
    recipe = config.recipe
    assert (recipe.backbone, recipe.epochs, recipe.batch_size) == ("resnet18", 2000, 512)
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay, recipe.warmup_epochs) == ("sgd", 0.5, 1e-4, 10)
    assert recipe.sizes == (32,)
    assert config.hparams == {"temperature": 0.2, "out_dim": 128}
    assert config.profile == "sdclr"


def test_cpu_presets_halve_the_size_of_large_images():
    sizes = {
        preset: _resolve(dataset="imagenet100lt", preset=preset).recipe.sizes
        for preset in ("paper", "cpu", "cpu-long", "smoke")
    }
    assert sizes == {"paper": (224,), "cpu": (56, 84, 112), "cpu-long": (56, 84, 112), "smoke": (56,)}
    assert _resolve(preset="cpu").recipe.sizes == (16,)
    assert _resolve(preset="cpu-long").recipe.sizes == (16, 24)
    assert _resolve(preset="smoke").recipe.sizes == (16,)


def test_precedence_is_user_then_preset_then_method():
    assert _resolve(method="byol").hparams["hidden_dim"] == 4096
    assert _resolve(method="byol", preset="smoke").hparams["hidden_dim"] == 256
    assert _resolve(method="byol", preset="smoke", hparam_changes={"hidden_dim": "64"}).hparams["hidden_dim"] == 64


def test_the_learning_rate_scales_with_the_batch_size_unless_set():
    assert _resolve(recipe_changes={"batch_size": 256}).recipe.lr == 0.25
    assert _resolve(recipe_changes={"batch_size": 256, "lr": "0.4"}).recipe.lr == 0.4


def test_the_warm_up_scales_with_the_epochs_unless_set():
    assert _resolve(recipe_changes={"epochs": 200}).recipe.warmup_epochs == 1
    assert _resolve(recipe_changes={"epochs": 200, "warmup_epochs": "7"}).recipe.warmup_epochs == 7


def test_every_setting_changes_the_run_id():
    base = small_config("simclr")
    others = [
        small_config("byol"),
        small_config("simclr", seed=1),
        small_config("simclr", precision="bf16"),
        small_config("simclr", precision="tf32"),
        small_config("simclr", lr=2e-3),
        small_config("simclr", hparams={"temperature": "0.3"}),
    ]
    assert len({config.run_id for config in [base, *others]}) == 7
    assert small_config("simclr").run_id == base.run_id
    assert small_config("simclr", accumulate=1).run_id == base.run_id != small_config("simclr", accumulate=2).run_id
    # part of the format: with another id, existing runs would not be found
    assert _resolve().run_id == "cd57cdff5e70"


@pytest.mark.parametrize(
    ("wanted", "preset", "capability", "chosen"),
    [
        ("auto", "paper", (9, 0), "fp32"),
        ("auto", "cpu", (9, 0), "bf16"),
        ("tf32", "paper", (8, 0), "tf32"),
        ("tf32", "paper", (7, 5), None),
        ("tf32", "cpu", None, None),
        ("fp32", "cpu", (8, 6), "fp32"),
    ],
)
def test_precision_by_preset_and_device(wanted, preset, capability, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    device = torch.device("cuda" if capability else "cpu")
    if chosen is None:
        with pytest.raises(UserError, match=f"--precision tf32: {device.type} has no TF32 arithmetic"):
            choose_precision(wanted, preset, device)
    else:
        assert choose_precision(wanted, preset, device) == chosen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": 1001}, r"splits 1 to 1000, not 1001"),
        ({"split": 0}, r"splits 1 to 1000, not 0"),
        ({"profile": "exp-500-50"}, "did you mean 'exp-5000-50'"),
        ({"recipe_changes": {"batch_size": 20_000}}, "batch size 20000 is larger than cifar10lt's 11,165 images"),
        (
            {"recipe_changes": {"accumulate": 257}},
            "accumulate=257 divides a batch of 512 into parts of less than 2 images",
        ),
        ({"recipe_changes": {"epochs": -1}}, "recipe.epochs=-1 is out of range"),
        ({"hparam_changes": {"temprature": "1"}}, "simclr has no setting 'temprature'; did you mean 'temperature'"),
        ({"hparam_changes": {"temperature": "warm"}}, r"simclr.temperature=warm is not of the form float\|cosine:LOW"),
        ({"dataset": "cifar10-lt"}, "no dataset is named 'cifar10-lt'; did you mean 'cifar10lt'"),
        ({"method": "deepcluster"}, "no method is named 'deepcluster'"),
    ],
)
def test_invalid_configurations_are_errors(changes, message):
    with pytest.raises(UserError, match=message):
        _resolve(**changes)
