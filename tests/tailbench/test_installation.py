"""The suite is installed in editable mode from a copy of the checkout, and nothing of it lies in site-packages."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

from core.errors import UserError
from core.version import VERSION
from tailbench.checkout import check
from tests.conftest import DEADLINE, ROOT

PARTS = ("*.py", "*.toml", "*.txt", "*.md")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the packages."""
    copy = tmp_path_factory.mktemp("copy") / "suite"
    copy.mkdir()
    for file in (file for pattern in PARTS for file in ROOT.glob(pattern)):
        shutil.copy(file, copy)
    for folder in (*(init.parent for init in ROOT.glob("*/__init__.py")), ROOT / "build_backend"):
        shutil.copytree(folder, copy / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment that has the packages of this one, but for the suite if it is installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "outer.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def _run(*command, folder) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=DEADLINE)


def _pip_install(environment, *what) -> subprocess.CompletedProcess:
    # without network: the build backend is that of this environment
    pip = (environment / "bin" / "python", "-m", "pip", "install", "--no-deps", "--no-build-isolation")
    return _run(*pip, *what, folder=environment)


@pytest.mark.slow
def test_an_editable_installation_works_in_any_folder(checkout, environment, tmp_path):
    before = sorted(file.name for file in checkout.iterdir())
    done = _pip_install(environment, "--editable", checkout)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in checkout.iterdir()) == before
    (site_packages,) = environment.glob("lib/python*/site-packages")
    assert {entry.suffix for entry in site_packages.iterdir()} == {".pth", ".dist-info"}
    done = _run(environment / "bin" / "tailbench", "list", folder=tmp_path)
    assert (done.returncode, "simclr" in done.stdout) == (0, True), done.stderr
    code = "import tailbench, data; print(tailbench.train.__module__, data.__file__)"
    done = _run(environment / "bin" / "python", "-c", code, folder=tmp_path)
    assert done.stdout.split() == ["tailbench.runs", str(checkout / "data" / "__init__.py")], done.stderr
    assert next(site_packages.glob("*.dist-info")).name == f"tailbench-{VERSION}.dist-info"
    metadata = next(site_packages.glob("*.dist-info/METADATA")).read_text()
    required = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert metadata.count("Requires-Dist: ") - metadata.count("; extra ==") == len(required)


@pytest.mark.slow
def test_another_installation_is_refused_in_one_line(checkout, environment):
    done = _pip_install(environment, checkout)
    assert done.returncode != 0
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "pip install -e" in line]
    assert "install it in editable mode" in line
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["data.py", "eval/__init__.py"])
def test_a_module_of_the_same_name_is_named(checkout, tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("raise SystemExit('imported')")
    code = f"import sys; sys.path.append({str(checkout)!r}); import tailbench"
    done = _run(sys.executable, "-c", code, folder=tmp_path)
    *_, line = done.stderr.splitlines()
    assert line.startswith(
        f"ImportError: tailbench needs its package {Path(name).parts[0].removesuffix('.py')!r} in {checkout}"
    )
    assert f"Python finds {file} first; rename that file or folder" in line


def test_a_folder_of_data_is_no_mistake(checkout, tmp_path):
    """A folder without `__init__.py`, such as one of images, does not hide a package."""
    (tmp_path / "data").mkdir()
    code = f"import sys; sys.path.append({str(checkout)!r}); import tailbench, data; print(data.__file__)"
    done = _run(sys.executable, "-c", code, folder=tmp_path)
    assert done.stdout.strip() == str(checkout / "data" / "__init__.py"), done.stderr


def test_the_citation_has_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert [reference["identifiers"][0]["value"] for reference in citation["references"]] == [
        f"arXiv:{number}" for number in ("2306.04934", "2410.22883")
    ]


def test_the_packages_of_the_tests_are_those_of_the_checkout():
    check(ROOT)
    assert UserError.__module__ == "core.errors"
