import pytest

from core.errors import UserError
from tests.runs import small_config
from training.config import resolve


def _resolve(**changes):
    asked = {"method": "simclr", "dataset": "cifar10lt", "profile": None, "split": 1, "seed": 0, "preset": "paper"}
    asked |= {"precision": "fp32", "recipe_changes": {}, "hparam_changes": {}}
    return resolve(**asked | changes)


def test_the_paper_preset_is_the_protocol():
    config = _resolve()
    recipe = config.recipe
    assert (recipe.backbone, recipe.epochs, recipe.batch_size) == ("resnet18", 2000, 512)
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay, recipe.warmup_epochs) == ("sgd", 0.5, 1e-4, 10)
    assert recipe.sizes == (32,)
    assert config.hparams == {"temperature": 0.2, "out_dim": 128}
    assert config.profile == "sdclr"


def test_presets_see_photographs_at_half_their_side():
    sizes = {
        preset: _resolve(dataset="imagenet100lt", preset=preset).recipe.sizes
        for preset in ("paper", "cpu", "cpu-long", "smoke")
    }
    assert sizes == {"paper": (224,), "cpu": (56, 84, 112), "cpu-long": (56, 84, 112), "smoke": (56,)}
    assert _resolve(preset="cpu").recipe.sizes == (16,)
    assert _resolve(preset="cpu-long").recipe.sizes == (16, 24)
    assert _resolve(preset="smoke").recipe.sizes == (16,)


def test_settings_flow_from_method_to_preset_to_user():
    assert _resolve(method="byol").hparams["hidden_dim"] == 4096
    assert _resolve(method="byol", preset="smoke").hparams["hidden_dim"] == 256
    assert _resolve(method="byol", preset="smoke", hparam_changes={"hidden_dim": "64"}).hparams["hidden_dim"] == 64


def test_the_rate_follows_the_batch_unless_it_is_given():
    assert _resolve(recipe_changes={"batch_size": 256}).recipe.lr == 0.25
    assert _resolve(recipe_changes={"batch_size": 256, "lr": "0.4"}).recipe.lr == 0.4


def test_the_warm_up_follows_the_length_unless_it_is_given():
    assert _resolve(recipe_changes={"epochs": 200}).recipe.warmup_epochs == 1
    assert _resolve(recipe_changes={"epochs": 200, "warmup_epochs": "7"}).recipe.warmup_epochs == 7


def test_every_setting_names_another_run():
    base = small_config("simclr")
    others = [
        small_config("byol"),
        small_config("simclr", seed=1),
        small_config("simclr", precision="bf16"),
        small_config("simclr", lr=2e-3),
        small_config("simclr", hparams={"temperature": "0.3"}),
    ]
    assert len({config.run_id for config in [base, *others]}) == 6
    assert small_config("simclr").run_id == base.run_id
    # part of the format: another id would orphan every run on users' disks
    assert _resolve().run_id == "cd57cdff5e70"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": 1001}, r"splits 1 to 1000, not 1001"),
        ({"split": 0}, r"splits 1 to 1000, not 0"),
        ({"profile": "coa"}, "did you mean 'cao'"),
        ({"recipe_changes": {"batch_size": 20_000}}, "batch size 20000 is larger than cifar10lt's 11165 images"),
        ({"recipe_changes": {"epochs": -1}}, "recipe.epochs=-1 is out of range"),
        ({"hparam_changes": {"temprature": "1"}}, "simclr has no setting 'temprature'; did you mean 'temperature'"),
        ({"hparam_changes": {"temperature": "warm"}}, r"simclr.temperature=warm is not of the form float\|cosine:LOW"),
        ({"dataset": "cifar10-lt"}, "no dataset is named 'cifar10-lt'; did you mean 'cifar10lt'"),
        ({"method": "simsiam"}, "no method is named 'simsiam'"),
    ],
)
def test_what_cannot_be_run_is_told(changes, message):
    with pytest.raises(UserError, match=message):
        _resolve(**changes)
