"""`--methods all`, `long-tail`, `baselines` and `every`."""

import pytest

from core.method_groups import METHOD_GROUPS
from grid.options import check_names
from methods import METHODS

MAIN_JOB = ["bcl", "byol", "colt", "sdclr", "simclr", "tase", "ts"]


def test_groups_are_those_that_are_known_before_an_import():
    assert tuple(METHODS.groups()) == METHOD_GROUPS


def test_all_is_the_main_job():
    assert sorted(METHODS.select(["all"])) == MAIN_JOB


def test_each_method_is_in_one_of_two_groups():
    found = METHODS.groups()
    assert sorted(found["long-tail"] + found["baselines"]) == sorted(found["every"]) == sorted(METHODS.names())
    assert {"byol", "simclr"} <= set(found["baselines"])
    assert {"sdclr", "bcl", "bcl-d", "sdclr+colt", "ts"} <= set(found["long-tail"])


def test_each_method_is_trained_once_where_groups_overlap():
    assert sorted(METHODS.select(["simclr", "all", "baselines", "every"])) == sorted(METHODS.names())


@pytest.mark.parametrize("group", METHOD_GROUPS)
def test_a_group_passes_the_check_of_names(group):
    check_names(methods=[group])


@pytest.mark.parametrize(("given", "group"), [("baseline", "baselines"), ("longtail", "long-tail"), ("evry", "every")])
@pytest.mark.parametrize("command", ["plan", "verify-resume", "views"])
def test_a_misspelt_group_is_corrected(mistake, command, given, group):
    line = mistake(command, *(["--methods"] if command != "verify-resume" else []), given)
    assert f"no method matches {given!r}; did you mean {group!r}?" in line
