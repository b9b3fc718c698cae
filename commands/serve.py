"""The command `serve`: report and status of a folder of runs over HTTP, with the standard library."""

import re
from collections.abc import Iterator
from functools import partial
from html import escape, unescape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from commands.status import status
from core.errors import UserError
from core.files import check_folder, read_text

PAGE, STATUS, INDEX = "report.html", "status.html", "tables/index.md"
SUMMARIES = "tables/*/summary*.md"
SECONDS = {STATUS: 5, PAGE: 30}  # between reloads
LOOPBACK = ("127.0.0.1", "localhost")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".pdf": "application/pdf",
}
# the page, and files up to one folder below tables and figures, of which no part starts with a dot
SERVED = re.compile(r"report\.html|(tables|figures)(/[^/.\\\0][^/\\\0]*){1,2}")


def serve(out: Path, host: str, port: int) -> None:
    """Serves the report and a status page until Ctrl-C; the folder may be made later.

    Raises:
        UserError: `out` is a file, or the address cannot be used.
    """
    check_folder(out, "--out")
    try:
        server = make_server(out, host, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot serve on {host}, port {port}: {reason}; choose another with --host or --port") from error
    with server:
        try:
            if host not in LOOPBACK:
                print("WARNING: anyone who can reach this address can read the report", flush=True)
            print(f"http://{host}:{server.server_address[1]}/ (Ctrl-C ends it)", flush=True)
            if not out.is_dir():
                print(f"waiting for the folder {out}, which a grid makes when it starts", flush=True)
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def make_server(out: Path, host: str, port: int) -> ThreadingHTTPServer:
    """A server that is bound to the address; port 0 is any free one. Raises OSError."""
    return ThreadingHTTPServer((host, port), partial(_Handler, out.resolve()))


def served_file(out: Path, path: str) -> Path | None:
    """The file of the report that a path of a URL names; None for any other path, and for links that leave the folder.

    Args:
        out: folder of runs, without symbolic links.
        path: without the slash at the start, decoded.
    """
    if SERVED.fullmatch(path) is None:
        return None
    file = (out / path).resolve()
    return file if file.is_file() and file == out / path and file.suffix in TYPES else None


def status_page(out: Path) -> str:
    """States, epochs and speeds of the runs and their summaries so far, as HTML that reloads itself while runs are left.

    Args:
        out: folder of runs, without symbolic links.
    """
    try:
        text, over = status(out)
    except UserError as error:
        text, over = str(error), False
    links = [f'<a href="/{path}">{name}</a>' for path, name in ((PAGE, "report"), (INDEX, "tables")) if served_file(out, path)]
    return (
        f'<!doctype html><html lang="en"><head>{"" if over else _reload(STATUS)}<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>Status of runs</title></head><body><h1>Status of runs</h1><p>{', '.join(links) or 'no report yet'}</p>"
        f"{_preformatted(text)}{''.join(_summaries(out))}</body></html>\n"
    )


def report_page(out: Path) -> bytes:
    """The page of the report, which reloads itself while runs are left; the file is not changed. Raises OSError."""
    content = (out / PAGE).read_bytes()
    try:
        _, over = status(out)
    except UserError:  # no runs, or damaged
        over = True
    return content if over else content.replace(b"<head>", f"<head>{_reload(PAGE)}".encode(), 1)


def _summaries(out: Path) -> Iterator[str]:
    """The table and the caption of each summary, as HTML."""
    for path in sorted(out.glob(SUMMARIES)):
        if (file := served_file(out, path.relative_to(out).as_posix())) is not None:
            table, _, rest = read_text(file).partition("\n\n")
            caption = rest.partition("\n\n")[0]
            yield f"<p>{escape(_unescaped(caption))}</p>{_preformatted(_unescaped(table))}"


def _unescaped(markdown: str) -> str:
    return unescape(re.sub(r"\\(\W|_)", r"\1", markdown))


def _preformatted(text: str) -> str:
    return f'<pre style="overflow-x: auto">{escape(text)}</pre>'


def _reload(page: str) -> str:
    return f'<meta http-equiv="refresh" content="{SECONDS[page]}">'


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, out: Path, *arguments: object) -> None:
        self.out = out
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).removeprefix("/")
        try:
            if path in ("", STATUS):
                self._send(status_page(self.out).encode(errors="replace"), TYPES[".html"])
            elif path == PAGE and served_file(self.out, path) is not None:
                self._send(report_page(self.out), TYPES[".html"])
            elif (file := served_file(self.out, path)) is not None:
                self._send(file.read_bytes(), TYPES[file.suffix])
            else:
                self.send_error(HTTPStatus.NOT_FOUND)
        except (OSError, ValueError):  # a file that a report replaces, or a browser that has gone
            self.close_connection = True

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Prints nothing."""
