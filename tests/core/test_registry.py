import pytest

from core.errors import UserError
from core.registry import Registry, names_in_source
from data.benchmark import BENCHMARKS
from eval.probes import PROBES
from methods import METHODS
from tests.conftest import ROOT


@pytest.fixture
def fruit():
    groups = {"all": lambda entry: entry.name != "apricot", "sweet": lambda entry: entry.name > "b"}
    registry = Registry("fruit", package="core", groups=groups)  # any package without entries of its own
    for name in ("apple", "apricot", "banana"):
        registry.register(name)(lambda: None)
    return registry


def test_select_takes_names_globs_and_groups_each_once(fruit):
    assert fruit.select(["ap*", "apple", "banana"]) == ["apple", "apricot", "banana"]
    assert fruit.select(["all"]) == ["apple", "banana"]
    assert fruit.select(["sweet", "ap*"]) == ["banana", "apple", "apricot"]
    assert fruit.groups() == {"all": ["apple", "banana"], "sweet": ["banana"]}


def test_select_ignores_case(fruit):
    assert fruit.select(["Apple", "BAN*", "Sweet", "ALL"]) == ["apple", "banana"]


@pytest.mark.parametrize("registry", [METHODS, BENCHMARKS, PROBES], ids=lambda registry: registry.kind)
def test_registered_names_are_lower_case(registry):
    assert [name for name in registry.names() if name != name.lower()] == []


def test_all_is_every_entry_unless_declared():
    registry = Registry("fruit", package="core")
    registry.register("apple")(lambda: None)
    assert registry.select(["all"]) == ["apple"]


def test_a_group_without_entries_matches_nothing(fruit):
    empty = Registry("fruit", package="core", groups={"sour": lambda entry: False})
    with pytest.raises(UserError, match="no fruit matches 'sour'"):
        empty.select(["sour"])


@pytest.mark.parametrize("name", ["all", "sweet"])
def test_an_entry_cannot_have_the_name_of_a_group(fruit, name):
    with pytest.raises(ValueError, match=rf"fruit '{name}' in .*errors\.py has the name of a group"):
        fruit.register(name)(UserError)
    assert name not in fruit


def test_unknown_names_suggest_the_nearest(fruit):
    with pytest.raises(UserError, match="did you mean 'banana'"):
        fruit["bananna"]
    with pytest.raises(UserError, match="choose from: all, apple, apricot, banana, sweet"):
        fruit.select(["xyz*"])


def test_unknown_names_suggest_a_group(fruit):
    with pytest.raises(UserError, match="no fruit matches 'sweets'; did you mean 'sweet'"):
        fruit.select(["sweets"])


def test_a_clash_names_both_files(fruit):
    with pytest.raises(ValueError, match=r"twice: in .*test_registry\.py and in .*errors\.py"):
        fruit.register("apple")(UserError)


def test_a_new_file_in_the_package_is_all_it_takes(tmp_path, monkeypatch):
    package = tmp_path / "orchard"
    package.mkdir()
    (package / "__init__.py").write_text("from core.registry import Registry\nTREES = Registry('tree', package='orchard')\n")
    (package / "pear.py").write_text("from orchard import TREES\n@TREES.register('pear')\ndef pear(): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import orchard

    assert orchard.TREES.names() == ["pear"]


@pytest.mark.parametrize("registry", [METHODS, BENCHMARKS, PROBES], ids=lambda registry: registry.kind)
def test_names_are_read_from_source_as_imports_find_them(registry):
    """A misspelt name is refused by these, before anything is imported."""
    assert sorted(names_in_source(ROOT / registry.package.replace(".", "/"))) == sorted(registry.names())


@pytest.mark.parametrize("source", ["@register(NAME)\nclass A: ...\n", "@register(f'{x}')\ndef a(): ...\n", "class A(:\n"])
def test_names_that_are_not_literals_need_an_import(source, tmp_path):
    (tmp_path / "good.py").write_text("@METHODS.register('good')\nclass Good: ...\n")
    assert names_in_source(tmp_path) == ["good"]
    (tmp_path / "other.py").write_text(source)
    assert names_in_source(tmp_path) is None
