"""A submission: the runs of one method in one JSON file, `results/<benchmark>/submissions/<name>.json`."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from core.files import write_text
from core.schema import read_json
from run_store.records import Record, checked_records

FOLDER = "submissions"
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .+_-]{0,39}$")]


class Submission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the file."""

    format: Literal[1] = 1
    name: Name
    date: str  # ISO 8601
    sources: dict[str, str]  # SHA-256 of the files of the method, by their path in the repository
    versions: dict[str, str]  # of packages
    configs: list[dict[str, Any]]  # `config.json` of each run
    records: list[msgspec.Raw]  # lines of `results.jsonl`


def write_submission(file: Path, submission: Submission) -> None:
    """Writes a submission, one record a line, with the bytes that their checksums are of."""
    head = {name: getattr(submission, name) for name in submission.__struct_fields__ if name != "records"}
    lines = ",\n".join(bytes(record).decode() for record in submission.records)
    write_text(file, f'{json.dumps(head, indent=1)[:-2]},\n "records": [\n{lines}\n]}}\n')


def read_submission(file: Path) -> tuple[Submission, list[Record]]:
    """Reads a submission and its records. Raises UserError if it is damaged or a record is not intact."""
    submission = read_json(file, Submission, "restore it")
    return submission, checked_records([bytes(record) for record in submission.records], file)


def submission_files(folder: Path) -> list[Path]:
    """Submissions in a folder of results, sorted."""
    return sorted(folder.glob(f"*/{FOLDER}/*.json"))
