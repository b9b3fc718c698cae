"""Downloads from a local server: atomic, verified, once; and malicious archives."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import PIPE
from threading import Thread

import pytest

from core.errors import UserError
from data.sources import fetch
from data.sources.fetch import download, fetch_once, unpack
from tests.conftest import ROOT

CONTENT = b"train/a.jpg 0\n" * 1000
SUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def server():
    """A server of `content`, a body for each path; of a path in `broken` the first answers break off in the middle."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            time.sleep(self.server.slowness)
            body = self.server.content.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            breaks = self.server.broken.get(self.path, 0) > 0
            self.server.broken[self.path] = self.server.broken.get(self.path, 0) - 1
            self.wfile.write(body[: len(body) // 2] if breaks else body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.broken, server.asked = {"/list.txt": CONTENT}, {}, []
    server.slowness = 0.0  # seconds before an answer
    server.url = f"http://127.0.0.1:{server.server_port}/list.txt"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _download(server, file, known=SUM, **more):
    fetch_once(file, lambda: download("the list", server.url, file, known, otherwise="put the file there", **more))


def _left(folder):
    return sorted(name for name in os.listdir(folder) if name != ".fetch.lock")


PROCESS = """
import sys
from pathlib import Path
from data.sources.fetch import download, fetch_once
url, file, known = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
fetch_once(Path(file), lambda: download("the list", url, Path(file), known, otherwise="put the file there"))
"""


def test_a_file_is_fetched_once_by_two_processes(server, tmp_path):
    server.slowness = 0.5  # long enough for both to find no file
    file = tmp_path / "lists" / "list.txt"
    start = [sys.executable, "-c", PROCESS, server.url, str(file), SUM]
    processes = [subprocess.Popen(start, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert server.asked == ["/list.txt"]
    assert file.read_bytes() == CONTENT
    assert file.stat().st_mode & 0o777 == 0o644
    assert _left(file.parent) == ["list.txt"]


def test_a_broken_transfer_is_retried(server, tmp_path):
    server.broken["/list.txt"] = 1
    _download(server, tmp_path / "list.txt")
    assert (tmp_path / "list.txt").read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("known", [SUM, None])
def test_half_a_file_is_never_kept(server, tmp_path, known):
    server.broken["/list.txt"] = 9
    with pytest.raises(
        UserError, match=r"the list is not at .*list\.txt and cannot be downloaded from http.*; put the file there"
    ):
        _download(server, tmp_path / "list.txt", known)
    assert _left(tmp_path) == []


def test_a_wrong_sum_or_structure_is_reported_and_nothing_kept(server, tmp_path):
    with pytest.raises(UserError, match=r"hash of downloaded file"):
        _download(server, tmp_path / "list.txt", f"sha256:{'0' * 64}")

    def check(fetched):
        raise UserError(f"{fetched.stat().st_size} bytes are too few")

    with pytest.raises(UserError, match=r"\(14000 bytes are too few\)"):
        _download(server, tmp_path / "list.txt", None, check=check)
    assert _left(tmp_path) == []


def test_no_server_and_no_file_are_reported_in_one_line(server, tmp_path):
    server.content.clear()
    with pytest.raises(UserError, match="404"):
        _download(server, tmp_path / "list.txt")
    server.url = "http://127.0.0.1:9/list.txt"
    with pytest.raises(UserError, match=r"\(no connection\); put the file there") as caught:
        _download(server, tmp_path / "list.txt")
    assert "\n" not in str(caught.value)


def test_files_of_a_killed_process_are_removed(server, tmp_path):
    (tmp_path / f"{fetch.SCRATCH}old").mkdir()
    _download(server, tmp_path / "list.txt")
    assert _left(tmp_path) == ["list.txt"]


# archives


def _entry(name, **fields):
    entry = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry


def _archive(entries, mode="w:gz"):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as tar:
        for entry in entries:
            entry.size = len(CONTENT) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(CONTENT) if entry.isreg() else None)
    return content.getvalue()


def test_a_member_of_an_archive_is_fetched_alone(server, tmp_path):
    server.content["/list.txt"] = _archive([_entry("readme"), _entry("train.json")])
    _download(server, tmp_path / "train.json", None, member="train.json")
    assert (tmp_path / "train.json").read_bytes() == CONTENT
    assert _left(tmp_path) == ["train.json"]
    server.content["/list.txt"] = _archive([_entry("readme"), _entry("link.json", type=tarfile.SYMTYPE, linkname="readme")])
    for member in ("other.json", "link.json"):
        with pytest.raises(UserError, match=rf"contains no file {member}"):
            _download(server, tmp_path / member, None, member=member)
    assert _left(tmp_path) == ["train.json"]


@pytest.mark.parametrize(
    "entries",
    [
        [_entry("../outside")],
        [_entry("a/../../outside")],
        [_entry("/outside")],
        [_entry("link", type=tarfile.SYMTYPE, linkname="..")],
        [_entry("link", type=tarfile.SYMTYPE, linkname="/"), _entry("link/outside")],
        [_entry("link", type=tarfile.LNKTYPE, linkname="../secret")],
        [_entry("device", type=tarfile.CHRTYPE)],
    ],
    ids=lambda entries: entries[-1].name,
)
def test_no_member_leaves_the_folder(tmp_path, entries):
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "bad.tar.gz").write_bytes(_archive(entries))
    with pytest.raises(UserError, match=r"bad\.tar\.gz (would write outside|contains the absolute path)"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "folder")
    assert set(_left(tmp_path)) <= {"bad.tar.gz", "folder", "secret"}


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_downloads_and_their_members_have_the_permissions_of_the_umask(server, tmp_path, umask):
    server.content["/list.txt"] = archive = _archive([_entry("a/readme", mode=0o600)])
    (tmp_path / "a.tar.gz").write_bytes(archive)
    before = os.umask(umask)
    try:
        _download(server, tmp_path / "whole", None)
        _download(server, tmp_path / "member", None, member="a/readme")
        unpack(tmp_path / "a.tar.gz", tmp_path / "folder")
    finally:
        os.umask(before)
    for file in ("whole", "member", "folder/a/readme"):
        assert (tmp_path / file).stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"no archive", lambda whole: b""])
def test_a_truncated_archive_is_reported(tmp_path, damage):
    (tmp_path / "cut.tar.gz").write_bytes(damage(_archive([_entry("a")])))
    with pytest.raises(UserError, match=r"cut\.tar\.gz is truncated or not a tar archive"):
        unpack(tmp_path / "cut.tar.gz", tmp_path / "folder")


def test_the_settings_of_a_download_show_progress_and_give_up_on_silence(server, tmp_path, monkeypatch, capsys):
    given = {}
    real = fetch.pooch.HTTPDownloader
    monkeypatch.setattr(fetch.pooch, "HTTPDownloader", lambda **settings: given.update(settings) or partial(real, **settings)())
    _download(server, tmp_path / "list.txt")
    assert given["progressbar"]
    assert given["timeout"] == fetch.SILENCE_SECONDS
    assert "100%" in capsys.readouterr().err
