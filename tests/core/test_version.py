import re
import subprocess

import pytest

import bench
from core.version import VERSION, version_text
from tests.conftest import ROOT


def test_the_version_has_the_commit_of_a_checkout(capsys):
    try:
        command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        head = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout")
    found = re.fullmatch(rf"tailbench {re.escape(VERSION)} \(commit (.*?)([0-9a-f]{{12}})(-dirty)?\)", version_text())
    assert found
    assert head.startswith(found[2])
    assert bench.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version_text()


def test_without_git_the_version_has_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert version_text() == f"tailbench {VERSION}"
