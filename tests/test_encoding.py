"""Text files are UTF-8, whatever the locale."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEADLINE, ROOT
from tests.reports.made import made_record

PACKAGES = [
    "backbones",
    "benchmarks",
    "commands",
    "core",
    "data",
    "eval",
    "grid",
    "methods",
    "parallel",
    "probing",
    "reports",
    "run_store",
]
PACKAGES += ["training", "bench.py"]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def without_encoding(source: str) -> list[int]:
    """Lines of calls that read or write text with the encoding of the locale."""
    lines = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        mode = arguments.get("mode") or (ast.unparse(call.args[1]) if len(call.args) > 1 else "'r'")
        text = (
            name.endswith((".read_text", ".write_text"))
            or (name in ("open", "os.fdopen") and mode[0] in "'\"" and "b" not in mode)
            or (name.startswith("subprocess.") and "text" in arguments)
        )
        if text and "encoding" not in arguments:
            lines.append(call.lineno)
    return lines


@pytest.mark.parametrize("package", PACKAGES)
def test_files_are_opened_as_utf8(package):
    path = ROOT / package
    files = [path] if path.is_file() else path.rglob("*.py")
    found = {str(file): without_encoding(file.read_text(encoding="utf-8")) for file in files}
    assert not {file: lines for file, lines in found.items() if lines}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("open(a)", True),
        ("open(a, 'w')", True),
        ("open(a, mode='w')", True),
        ("path.read_text()", True),
        ("(HERE / name).write_text(x)", True),
        ("subprocess.run(x, text=True)", True),
        ("open(a, 'rb')", False),
        ("open(a, encoding='utf-8')", False),
        ("path.read_text(encoding='utf-8')", False),
        ("read_text(path)", False),
        ("Image.open(a)", False),
    ],
)
def test_what_counts_as_text(source, found):
    assert bool(without_encoding(source)) == found


@pytest.fixture
def runs(tmp_path) -> Path:
    """A folder of runs with a non-ASCII name, records of two splits, and a file of options."""
    out = tmp_path / "läufe"
    for split in (1, 2):
        folder = out / f"digitslt-simclr-split{split}-seed0-{split:012x}"
        folder.mkdir(parents=True)
        record = made_record(split=split, run_id=f"{split:012x}", data="größe ± 1")
        (folder / "results.jsonl").write_text(record.to_line() + "\n", encoding="utf-8")
    (tmp_path / "options.yaml").write_text("datasets: digitslt\npreset: smoke\nout: läufe # größe\n", encoding="utf-8")
    return out


@pytest.mark.parametrize(
    "arguments", [["list"], ["plan", "--config", "options.yaml"], ["--methods", "größe"], ["--set", "größe=±"]], ids=" ".join
)
def test_commands_in_an_ascii_locale(runs, arguments):
    command = [sys.executable, ROOT / "bench.py", *arguments]
    ended = subprocess.run(command, cwd=runs.parent, env=os.environ | ASCII, capture_output=True, timeout=DEADLINE)
    assert b"Traceback" not in ended.stderr
    assert ended.returncode == (0 if arguments[0] in ("list", "plan") else 2)


def test_text_that_ascii_lacks_is_printed_with_escapes():
    code = "from core.terminal import print_any_text; print_any_text(); print('1 \\xb1 2')"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | ASCII, capture_output=True, check=True)
    assert ended.stdout == b"1 \\xb1 2\n"
