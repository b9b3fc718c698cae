"""The command `serve`: report and status of a folder of runs over HTTP, with the standard library."""

import re
from functools import partial
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from commands.status import status
from core.errors import UserError

PAGE, STATUS = "report.html", "status.html"
SECONDS = 5  # between reloads of the status page
LOOPBACK = ("127.0.0.1", "localhost", "::1")
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
    """Serves the report and a status page until Ctrl-C.

    Raises:
        UserError: the folder does not exist, or the address cannot be used.
    """
    if not out.is_dir():
        raise UserError(f"folder {out} does not exist; give the folder of runs with --out")
    try:
        server = make_server(out, host, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot serve on {host}, port {port}: {reason}; choose another with --host or --port") from error
    with server:
        try:
            if host not in LOOPBACK:
                print(f"WARNING: whoever reaches {host} can read the report", flush=True)
            print(f"http://{host}:{server.server_address[1]}/ (Ctrl-C ends it)", flush=True)
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
    """States, epochs and speeds of the runs as HTML that reloads itself while runs are left."""
    try:
        text, over = status(out)
    except UserError as error:
        text, over = str(error), False
    reload = "" if over else f'<meta http-equiv="refresh" content="{SECONDS}">'
    link = f'<a href="/{PAGE}">report</a>' if (out / PAGE).is_file() else "no report yet"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{reload}'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>Status of runs</title></head><body><h1>Status of runs</h1><p>{link}</p>"
        f'<pre style="overflow-x: auto">{escape(text)}</pre></body></html>\n'
    )


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, out: Path, *arguments: object) -> None:
        self.out = out
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).removeprefix("/")
        try:
            if path in ("", STATUS):
                self._send(status_page(self.out).encode(errors="replace"), TYPES[".html"])
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
