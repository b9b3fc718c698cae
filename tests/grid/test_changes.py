import pytest

from core.errors import UserError
from grid.changes import Changes, changes_of, without_setting
from grid.options import GridOptions


@pytest.mark.parametrize(
    ("sets", "methods", "expected"),
    [
        (["recipe.lr=0.1"], ["simclr"], Changes({"lr": "0.1"})),
        (["lr=0.1"], ["simclr", "byol"], Changes({"lr": "0.1"})),
        (["lr=0.1", "recipe.lr=0.1"], ["simclr"], Changes({"lr": "0.1"})),
        (["simclr.temperature=1"], ["simclr", "sdclr"], Changes(hparams={"simclr": {"temperature": "1"}})),
        (["temperature=1"], ["simclr", "byol"], Changes(hparams={"simclr": {"temperature": "1"}})),
        (["sdclr+colt.pool=a=b"], ["sdclr+colt"], Changes(hparams={"sdclr+colt": {"pool": "a=b"}})),
    ],
)
def test_owners_of_settings(sets, methods, expected):
    assert changes_of(GridOptions(set=sets), methods) == expected


@pytest.mark.parametrize(
    ("sets", "methods", "lines"),
    [
        (["temperature=1"], ["simclr", "byol"], ["--set temperature=1 changes simclr only; byol has no such setting"]),
        (["prune=0.5"], ["simclr", "sdclr", "byol"], ["--set prune=0.5 changes sdclr only; simclr, byol have no such setting"]),
        (["simclr.temperature=1", "lr=0.1", "recipe.lr=0.1"], ["simclr", "byol"], []),
        (["temperature=1"], ["simclr"], []),
    ],
)
def test_methods_without_a_setting_are_named(sets, methods, lines):
    assert without_setting(GridOptions(set=sets), methods) == lines


@pytest.mark.parametrize("option", ["backbone", "epochs", "batch_size", "accumulate"])
def test_an_option_and_set_must_agree(option):
    value = "resnet18" if option == "backbone" else 4
    agreeing = GridOptions(set=[f"{option}={value}"], **{option: value})
    assert changes_of(agreeing, ["simclr"]).recipe == {option: str(value)}
    with pytest.raises(
        UserError, match=rf"--{option.replace('_', '-')} {value} contradicts --set recipe\.{option}=8; give one"
    ):
        changes_of(GridOptions(set=[f"recipe.{option}=8"], **{option: value}), ["simclr"])


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["temperature=1"], "simclr, sdclr have this setting; give METHOD.KEY=VALUE, as in simclr.temperature=1"),
        (["momentum=1"], "neither the recipe nor one of the methods has a setting 'momentum'"),
        (["temprature=1"], "did you mean 'temperature'?"),
        (["simclr.temperature=1", "simclr.temperature=2"], "simclr.temperature has two values, 1 and 2; give one"),
        (["lr=1", "recipe.lr=2"], "recipe.lr has two values, 1 and 2; give one"),
        (["lr"], "is not of the form"),
        (["=1"], "is not of the form"),
        ([".lr=1"], "is not of the form"),
        (["recipe.=1"], "is not of the form"),
    ],
)
def test_mistakes_in_set(sets, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        changes_of(GridOptions(set=sets), ["simclr", "sdclr"])
