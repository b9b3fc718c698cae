"""Files of options, YAML or TOML: `--config FILE`, and `grid.yaml`, which `run` writes to the folder of runs.

A file has options without dashes, such as `seeds: [0, 1]` for `--seeds 0 1`. The command line has priority. `grid.yaml` has the
choices of the plan in place of groups, globs and `auto`, so that it gives the same runs on another machine. Values have the
syntax of the command line in YAML too, whose own types would make a number of 8:00:00.
"""

import os
import tomllib
from collections import Counter
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from cyclopts import App, ArgumentCollection, Token

from core.errors import UserError, nearest
from core.files import read_bytes, write_text
from grid.options import GridOptions, LauncherOptions, current_spelling, option_of
from grid.unknown_words import setting_of

OPTIONS_FILE = "grid.yaml"  # in the folder of runs
OPTION = "--config"
KEYS = [field.name for options in (GridOptions, LauncherOptions) for field in fields(options)] + ["checkpoint_seconds"]
_HEAD = "# Options of the last grid that was started in this folder, for `python bench.py --config FILE`\n"


def save_options(options: GridOptions, launcher: LauncherOptions, checkpoint_seconds: float) -> None:
    """Writes all options of `run` to `grid.yaml` in the folder of runs."""
    values = {**asdict(options), **asdict(launcher), "checkpoint_seconds": checkpoint_seconds}
    text = yaml.safe_dump(
        {key: _plain(value) for key, value in values.items()}, sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    write_text(options.out / OPTIONS_FILE, _HEAD + text)


def _plain(value: Any) -> Any:
    """A value of an option as one of YAML."""
    if isinstance(value, Path):
        return os.fsencode(value).decode(errors="surrogateescape")
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def apply_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Sets the options of the file of `--config` that the command line does not set; a `config` of cyclopts.

    `plan` ignores options that only `run` has.

    Raises:
        UserError: see `read_options`, or a list is given for an option of one value.
    """
    by_option = {name: argument for argument in arguments for name in argument.names}
    if OPTION not in by_option or not by_option[OPTION].tokens:
        return
    file = by_option[OPTION].tokens[0].value
    for option, values in read_options(Path(file)).items():
        argument = by_option.get(option)
        if argument is None or argument.tokens:
            continue
        if isinstance(values, list) and not argument.token_count()[1]:
            raise UserError(f"{OPTION} {file}: {option[2:]} is a list; give one value")
        if values == []:
            argument.append(Token(keyword=option, source=file, implicit_value=[]))
        for index, value in enumerate(values if isinstance(values, list) else [values]):
            argument.append(Token(keyword=option, value=value, source=file, index=index))


def read_options(path: Path) -> dict[str, str | list[str]]:
    """Values by option as text, such as {"--seeds": ["0", "1"]}, without those that are null in YAML.

    Raises:
        UserError: the file is missing or not of the form above, or has an option twice or one that `run` does not have.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
        content = tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, _Loader)
    except OSError as error:
        raise UserError(f"{OPTION} {path}: {error.strerror or error}; give a YAML or TOML file of options") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{OPTION} {path} cannot be read: {_reason(error)}; correct the file") from error
    if not isinstance(content, dict):
        raise UserError(f"{OPTION} {path} has no options; write lines such as `seeds: [0, 1]`")
    keys = {key: _key(str(key)) for key in content}
    for name, key in keys.items():
        if key not in KEYS:
            raise UserError(f"{OPTION} {path}: no option {key!r}{_suggestion(str(name), key, content[name])}")
        if list(keys.values()).count(key) > 1:
            raise UserError(f"{OPTION} {path}: {key} is given twice; give it once")
    given = {keys[key]: value for key, value in content.items() if value is not None}
    return {option_of(key): _words(value, f"{OPTION} {path}: {key}") for key, value in given.items()}


def _key(name: str) -> str:
    """Field of an option by its name without dashes at the start."""
    return current_spelling(option_of(name)).removeprefix("--").replace("-", "_")


def _suggestion(name: str, key: str, value: Any) -> str:
    """What was meant by a name in a file, and the field `key` made of it, which is no option: a setting, or another option."""
    setting = setting_of(name)
    if setting is None:
        return nearest(key, KEYS)
    return f"; did you mean set: {setting}={','.join(map(str, value)) if isinstance(value, list) else value}?"


def _words(value: Any, place: str) -> str | list[str]:
    """A value, or a list of values, as text. Raises UserError for a mapping or nested list."""
    words = value if isinstance(value, list) else [value]
    if any(word is None or isinstance(word, dict | list) for word in words):
        raise UserError(f"{place} is neither a value nor a list of values")
    try:
        words = [os.fsdecode(str(word).encode(errors="surrogateescape")) for word in words]  # as words of the command line
    except UnicodeEncodeError as error:
        raise UserError(f"{place} has characters that no file name can have") from error
    return words if isinstance(value, list) else words[0]


def _reason(error: Exception) -> str:
    """One line on an error of a parser, with the line of the file."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}: {getattr(error, 'problem', None)}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())


class _Loader(yaml.BaseLoader):
    """Loads scalars as text, except null. Raises ConstructorError for a key that a mapping has twice."""

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        plain = node.style is None and node.value in ("", "~", "null")
        return None if plain else super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, count in Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)).items():
            if count > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)
