"""README and docs name files, commands and options that exist."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from bench import app
from grid.options import GridOptions, LauncherOptions
from grid.options_file import save_options
from grid.plan import make_plan
from methods import METHODS
from training.config import default_hparams

ROOT = Path(__file__).parent.parent
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"[\w.*-]+(/[\w.*-]+)*/|[\w.*-]+(/[\w.*-]+)+|[\w-]+\.(py|md|toml)")  # a folder, a path or a file
CREATED = re.compile(
    "(runs|tables|figures|exports|slurm)/"  # by a run
    "|(imagenet|imagenet-r|places365|places69|inat18|folderlt|lists)/"  # by the user, under the data root
)
RUN = re.compile(r"\b\w+-[\w+]+-split\d+-seed\d+-[0-9a-f]+")
OPTION = re.compile(r"--[a-z][a-z-]*")
each_document = pytest.mark.parametrize("document", DOCS, ids=lambda document: document.name)


def spans(text: str) -> list[str]:
    """Code spans outside of code blocks, each in one line."""
    prose = re.sub(r"^```.*?^```|^ {4}.*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def command_lines(text: str) -> Iterator[list[str]]:
    """Arguments of every `python bench.py` in code blocks and spans, and of code spans such as `--preset cpu --epochs 0`."""
    blocks = [line for line in text.splitlines() if "`" not in line]
    for code in [*blocks, *spans(text)]:
        for part in code.split("&&"):
            words = re.match(r"\s*(python )?bench\.py\b(.*)", part)
            if words:
                yield shlex.split(words[2], comments=True)
    for span in spans(text):
        if OPTION.match(span) and " " in span:
            yield shlex.split(span)


def missing_files(text: str, folder: Path) -> list[str]:
    """Links and files in code spans that exist neither in the document's folder nor in the repository's root."""
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    named = [word for span in spans(text) for word in span.split() if NAMED.fullmatch(word) and not CREATED.match(word)]
    missing = [name for name in links if not (folder / name).exists()]
    return missing + [name for name in named if not (folder / name).exists() and not (ROOT / name).exists()]


def unknown_options(text: str) -> set[str]:
    """Options in code spans that no command has."""
    commands = [app[name] for name in app if not name.startswith("-")]
    known = {name for command in commands for argument in command.assemble_argument_collection() for name in argument.names}
    return {option for span in spans(text) if OPTION.match(span) for option in OPTION.findall(span)} - known


def parse(arguments: list[str]) -> None:
    """Parses a command line without executing it. Raises CycloptsError."""
    app.parse_args(arguments, exit_on_error=False, print_error=False)


@each_document
def test_named_files_exist(document):
    assert not missing_files(document.read_text(), document.parent)


@each_document
def test_command_lines_parse(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    save_options(GridOptions(), LauncherOptions(), 60.0)  # runs/grid.yaml
    for arguments in command_lines(document.read_text()):
        parse(arguments)


@each_document
def test_named_options_exist(document):
    assert not unknown_options(document.read_text())


@pytest.mark.parametrize("name", ["`grid/plam.py`", "`gird/`", "`READ.md`", "[text](glosary.md)"])
def test_a_misspelt_file_is_found(name):
    assert missing_files(f"See {name}.", ROOT / "docs")


@pytest.mark.parametrize(
    "line", ["    python bench.py plam", "`bench.py doctor\nx`", "`--preset cpu --epoch 0`", "    python bench.py --seed 1"]
)
def test_a_misspelt_command_line_is_found(line):
    (arguments,) = command_lines(line)
    with pytest.raises(CycloptsError):
        parse(arguments)


def test_a_misspelt_option_is_found():
    assert unknown_options("The option `--veiws` or `--views`.") == {"--veiws"}


def test_run_folders_have_the_names_of_runs_of_the_cpu_preset(tmp_path):
    named = {name for file in DOCS for name in RUN.findall(file.read_text())}
    methods = sorted({name.split("-")[1] for name in named})
    options = GridOptions(methods=methods, preset="cpu", precision="bf16", views="torch", device="cpu", data_root=tmp_path)
    names = [run.path.name for run in make_plan(options).runs]
    assert named
    assert [name for name in named if not any(real.startswith(name) for real in names)] == []


def test_the_glossary_has_one_line_per_term_in_alphabetical_order():
    lines = (ROOT / "docs/glossary.md").read_text().split("\n\n")[-1].splitlines()
    terms = [re.match(r"- \*\*(.+?)\*\*: \S", line) for line in lines]
    assert all(terms)
    names = [term[1].casefold() for term in terms]
    assert names == sorted(set(names))


def test_the_method_in_adding_a_method_is_the_file():
    quoted = (ROOT / "docs/adding_a_method.md").read_text().partition("```python\n")[2].partition("```\n")[0]
    assert quoted == (ROOT / "methods/simsiam.py").read_text()


def test_the_table_of_hyper_parameters_on_image_files_is_complete():
    text = (ROOT / "docs/protocols.md").read_text().partition("### Hyper-parameters on image files")[2].partition("\n##")[0]
    header, _, *rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"]
    written = {(row[0], dataset): row[1:][place] for row in rows for place, dataset in enumerate(header[1:])}
    for name in (name for name, method in METHODS if method.suite):
        cifar = dataclasses.asdict(default_hparams(name, "cifar100lt", "paper"))
        for dataset in header[1:]:
            own = dataclasses.asdict(default_hparams(name, dataset, "paper"))
            changed = {f"{key}={value}" for key, value in own.items() if value != cifar[key]}
            assert changed == set(filter(None, written.get((name, dataset), "").split(", "))), (name, dataset)
