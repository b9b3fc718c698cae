"""The server of a report: what it serves and what it does not, its status page, and its mistakes."""

import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from threading import Thread
from urllib.request import urlopen

import pytest
from msgspec.structs import replace

import bench
from commands.report import report
from commands.serve import make_server, report_page, served_file, status_page
from tests.commands.test_report import make_run
from tests.reports.made import made_grid, made_record
from tests.shared_runs import DONE, write_lease
from tests.shared_runs import make_run as make_shared_run


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "runs"
    run = make_run(folder, "cifar10lt-simclr-split1-seed0-simclr-1-0", made_record())
    make_run(folder, "cifar10lt-byol-split1-seed0-abc", done=False, error="<b>lost</b>\n")
    report(folder)
    for name in ("weights.safetensors", "checkpoint.pt"):
        (run / name).write_text("secret")
    for name in ("tables/.hidden.csv", ".env", "grid.yaml", "tables/x.safetensors"):
        (folder / name).write_text("secret")
    (tmp_path / "secret.csv").write_text("secret")
    (folder / "tables" / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "tables" / "up").symlink_to(tmp_path)
    return folder


@pytest.fixture
def get(out):
    with make_server(out, "127.0.0.1", 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()

        def ask(path):
            connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return answer.status, content

        yield ask
        server.shutdown()
        thread.join()


@pytest.mark.figures
def test_every_file_of_the_report_is_served(out, get):
    page = (out / "report.html").read_bytes()
    assert get("/report.html") == (200, page.replace(b"<head>", b'<head><meta http-equiv="refresh" content="30">'))
    assert (out / "report.html").read_bytes() == page
    files = [path for folder in ("tables", "figures") for path in (out / folder).rglob("*")]
    found = {
        path.relative_to(out).as_posix() for path in files if path.is_file() and served_file(out, str(path.relative_to(out)))
    }
    assert {"tables/index.md", "tables/tidy.csv", "tables/cifar10lt/linear-probe.tex"} <= found
    assert {path.rpartition(".")[2] for path in found} == {"md", "csv", "tex", "json", "svg", "png", "pdf"}
    for path in found:
        assert get(f"/{path}") == (200, (out / path).read_bytes())


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.csv", "/tables/../../secret.csv", "/tables/%2e%2e/%2e%2e/secret.csv", "/tables%2f..%2f..%2fsecret.csv",
        "//etc/passwd", "/%2fetc/passwd", "/tables/..%5c..%5csecret.csv", "/tables/link.csv", "/tables/up/secret.csv",
        "/tables/.hidden.csv", "/.env", "/grid.yaml", "/tables/x.safetensors", "/tables/", "/tables", "/figures/%00.svg",
        "/cifar10lt-simclr-split1-seed0-simclr-1-0/weights.safetensors", "/tables/index.md%00.csv",
        "/cifar10lt-simclr-split1-seed0-simclr-1-0/checkpoint.pt", "/cifar10lt-simclr-split1-seed0-simclr-1-0/results.jsonl",
    ],
)  # fmt: skip
def test_nothing_else_is_served(get, path):
    status, content = get(path)
    assert status == 404
    assert b"secret</" not in content
    assert content != b"secret"


def test_the_status_page_shows_what_status_prints_and_reloads_until_all_runs_have_ended(tmp_path):
    make_shared_run(tmp_path / "a", *DONE)
    (make_shared_run(tmp_path / "d", "config", "error") / "error.txt").write_text("<b>lost</b>")
    page = status_page(tmp_path)
    assert "DONE       a\nFAILED     d  &lt;b&gt;lost&lt;/b&gt;" in page
    assert 'http-equiv="refresh"' not in page
    activity = {"phase": "training", "epoch": 3, "epochs": 10, "images_per_second": 812.4, "seconds_left": 130.0}
    write_lease(make_shared_run(tmp_path / "e", "config"), activity=activity)
    page = status_page(tmp_path)
    assert "epoch 3/10  812 images/s" in page
    assert 'http-equiv="refresh"' in page


@pytest.mark.parametrize(("files", "left"), [(DONE, False), (("config", "error"), False), (("config",), True), ((), False)])
def test_the_report_reloads_while_runs_are_left(tmp_path, files, left):
    (tmp_path / "report.html").write_text("<html><head><title>a</title></head><body><head></body></html>")
    make_shared_run(tmp_path / "a", *files)
    page = report_page(tmp_path)
    assert page.count(b'<head><meta http-equiv="refresh"') == page.count(b"refresh") == left


def test_the_status_page_has_the_summaries_and_links_of_the_last_report(tmp_path):
    assert "no report yet" in status_page(tmp_path)
    records = list(made_grid(["simclr", "byol"], splits=1, seeds=1, probes=("ridge",)))
    records += [replace(record, dataset="folder-a_b-00000000", data="own", run_id=f"b{record.method}") for record in records]
    for record in records:
        make_run(tmp_path, f"{record.dataset}-{record.method}-split1-seed0-{record.run_id}", record)
    report(tmp_path, figures=False)
    page = status_page(tmp_path)
    assert '<a href="/report.html">report</a>, <a href="/tables/index.md">tables</a>' in page
    captions = re.findall(r"<p>(\S+) \(variant .*?summary, test accuracy in %, probe linear \(ridge\)", page)
    assert captions == ["cifar10lt", "folder-a_b-00000000"]
    assert len(re.findall(r"\| BYOL .*\| +51\.0 ", page)) == 2


def test_the_status_page_is_the_first_page(get):
    assert b"<title>Status of runs</title>" in get("/")[1]
    assert get("/status.html")[0] == 200


def test_a_busy_port_and_a_missing_folder_are_one_line(out, tmp_path, capsys):
    with make_server(out, "127.0.0.1", 0) as server:
        port = server.server_address[1]
        assert bench.main(["serve", "--out", str(out), "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"bench.py: cannot serve on 127.0.0.1, port {port}: ")
    for words in (
        ["--out", str(out / "grid.yaml")],
        ["--out", str(out / "grid.yaml" / "runs")],
        ["--out", str(out), "--port", "99999"],
        ["--out", str(out), "--host", "no.invalid"],
    ):
        assert bench.main(["serve", *words]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@contextmanager
def running(command, folder=None):
    """The process of a command, killed at the end of the context."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_folder_that_a_grid_has_not_made_yet_is_waited_for(tmp_path):
    command = [sys.executable, bench.__file__, "serve", "--out", "runs", "--port", "0"]
    with running(command, tmp_path) as process:
        address = process.stdout.readline().split(" ")[0]
        assert process.stdout.readline() == "waiting for the folder runs, which a grid makes when it starts\n"
        assert "no report yet" in urlopen(address, timeout=10).read().decode()
        (tmp_path / "runs").mkdir()
        make_shared_run(tmp_path / "runs" / "a", "config", "trained", "weights", "knn", "done")
        assert "DONE       a" in urlopen(address, timeout=10).read().decode()
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=30)
    assert (process.returncode, said.strip(), errors) == (0, "", "")


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_ctrl_c_ends_it_quietly(out, host, warned):
    command = [sys.executable, bench.__file__, "serve", "--out", str(out), "--port", "0", "--host", host]
    with running(command) as process:
        first = process.stdout.readline()
        assert first.startswith("WARNING: anyone who can reach this address can read the report\n" if warned else "http://")
        if warned:
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
