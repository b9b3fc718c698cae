#!/usr/bin/env python
"""Command line of the suite: parse, plan, run, report. Knows no loss and no network. (Long: its docstrings are the help.)"""

import logging
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from core.errors import UserError, nearest
from core.terminal import Messages, show
from grid.options import Number, Numbers, Request, Several, check_names, check_positive

app = App(
    name="bench.py",
    help="Self-supervised learning on long-tailed images: trains a grid of methods on a grid of benchmarks, probes the frozen "
    "features and writes the tables. Without a command it runs the grid.",
    help_on_error=False,
    suppress_keyboard_interrupt=False,
)


log = logging.getLogger(__name__)
TELLING = ("list", "plan", "doctor", "--help", "-h")  # commands that do nothing but print


@app.default
@app.command
def run(request: Request = Request(), *, checkpoint_seconds: float = 60.0) -> int:
    """Train, probe and tabulate. Finished runs are skipped; a stopped run goes on when the command is repeated.

    Parameters
    ----------
    checkpoint_seconds
        Seconds between checkpoints: the most that a kill can cost.
    """
    check_names(request.methods, request.datasets, request.probes)
    from commands.report import report_so_far
    from core.files import writable_folder
    from grid.execute import execute
    from grid.plan import make_plan, plan_text
    from grid.time_estimate import clock, estimate
    from training.device import use_threads

    if not checkpoint_seconds >= 0:
        raise UserError(f"--checkpoint-seconds {checkpoint_seconds}: give a number of seconds")
    plan = make_plan(request)
    writable_folder(request.out, "--out")
    print(plan_text(plan), flush=True)
    use_threads(plan.shares[1])
    estimated = estimate(plan)
    if plan.unfinished:
        print(f"estimated time: {estimated.text} for training and probes", flush=True)
    todo, started = estimated.order(plan.unfinished), time.monotonic()
    failed = {}
    for ended, (run_, reason) in enumerate(execute(plan, checkpoint_seconds, todo), start=1):
        if reason is not None:
            failed[run_.path.name] = reason
        elif ended < len(todo):
            left = estimated.wall() - (time.monotonic() - started)
            how_far = f"{ended} of {len(todo)} runs ended" + (f", about {clock(left)} left" if left > 0 else "")
            try:
                show(f"\n{how_far}; {report_so_far(request.out, plan.runs)}\n")
            except (UserError, OSError) as error:  # the runs are what matters
                log.warning("no tables yet: %s", error)
    _report(request.out, [run.config.run_id for run in plan.runs])
    for name, reason in failed.items():
        print(f"FAILED {name}: {reason}", file=sys.stderr)
    return 1 if failed else 0


@app.command
def plan(request: Request = Request()) -> int:
    """Show what `run` would do, and for how long; start nothing."""
    check_names(request.methods, request.datasets, request.probes)
    from grid.plan import make_plan, plan_text
    from grid.time_estimate import estimate
    from training.device import use_threads

    plan = make_plan(request)
    print(plan_text(plan), flush=True)
    use_threads(plan.shares[1])
    states = plan.states
    print(", ".join(f"{states.count(state)} {state}" for state in ("DONE", "RESUMABLE", "NEW")), end="; ")
    print(f"estimated time: {estimate(plan).text} for training and probes")
    return 0


@app.command
def report(*, out: Path = Path("runs")) -> int:
    """Write tables, figures and the page again, from the records alone.

    Parameters
    ----------
    out
        Folder of runs.
    """
    if not out.is_dir():
        raise UserError(f"there is no folder {out}; name the folder of runs with --out")
    if not _report(out):
        raise UserError(f"no records in {out}; train something first, or name the folder of runs with --out")
    return 0


@app.command
def probe(
    path: Path,
    *,
    datasets: Annotated[list[str] | None, Several] = None,
    profiles: Annotated[list[str] | None, Several] = None,
    splits: Annotated[list[int] | None, Numbers] = None,
    probes: Annotated[list[str] | None, Several] = None,
    backbone: str | None = None,
    key: str | None = None,
    prefix: str | None = None,
    device: str = "auto",
    views: str = "auto",
    workers: Annotated[int | None, Number] = None,
    data_root: Path | None = None,
    out: Path | None = None,
) -> int:
    """Probe a trained run again or on other data, or weights from elsewhere. Nothing is trained.

    Parameters
    ----------
    path
        Folder of a run, or a file of weights: .safetensors, or what torch.save wrote of tensors alone.
    datasets
        Benchmarks: names or globs; default: the run's own, or cifar10lt.
    profiles
        Default: the run's own on its own benchmark, else each benchmark's first.
    splits
        Default: the run's own on its own benchmark, else 1.
    probes
        Names, globs or all; default: the quick ones.
    backbone
        The network that a file's weights are of, by its name here or in timm.
    key
        Of the state dict in a file that holds several.
    prefix
        Of the backbone's names in a file that holds several networks.
    device
        auto, cpu, cuda or cuda:N.
    views
        What shows the images to the network: torch, dali, kornia or torchvision.
    workers
        Processor threads; default: all cores.
    data_root
        Where the images are or will be put; default: the user's cache folder.
    out
        Folder of runs and tables; default: where the run lies, or runs.
    """
    check_names(None, datasets, probes)
    from probing.probe_path import probe_path
    from training.device import use_threads

    check_positive("--workers", workers)
    use_threads(workers)
    probed = probe_path(
        path,
        datasets=datasets or (),
        profiles=profiles or (),
        splits=splits or (),
        probes=probes or (),
        backbone=backbone,
        key=key,
        prefix=prefix,
        out=out,
        data_root=data_root,
        device=device,
        views=views,
    )
    for parent in dict.fromkeys(folder.parent for folder, _ in probed):
        _report(parent, [run_id for folder, run_id in probed if folder.parent == parent])
    return 0


@app.command(name="export")
def export_(run: Path, *, to: Path | None = None) -> int:
    """Write a trained run's backbone as safetensors with a model card, in the layout of timm and the Hugging Face hub.

    Parameters
    ----------
    run
        Folder of the run.
    to
        Folder to write; default: exports/ beside the run.
    """
    from commands.export import export

    print(f"exported: {export(run, to)}")
    return 0


@app.command(name="list")
def list_(
    *,
    datasets: Annotated[list[str] | None, Several] = None,
    passport: Annotated[bool, Parameter(negative=())] = False,
    profile: str | None = None,
    splits: Annotated[list[int] | None, Numbers] = None,
    data_root: Path | None = None,
) -> int:
    """List methods with their hyper-parameters, backbones, datasets, probes and presets; or datasets alone, more closely.

    Parameters
    ----------
    datasets
        Only these benchmarks: names, globs, or all.
    passport
        Their passports: source, counts, groups, and the SHA-256 of every index list.
    profile
        Of the passports; default: each benchmark's first.
    splits
        Of the passports; default: 1.
    data_root
        Where to look for images and pools; default: the user's cache folder.
    """
    check_names(None, datasets)
    from commands.list import benchmarks_text, catalogue, passports_text

    if passport:
        print(passports_text(datasets or ["all"], profile, splits or [1], data_root))
    elif profile is not None or splits:
        raise UserError("list: --profile and --splits say which passports to print; add --passport")
    else:
        print(benchmarks_text(datasets, data_root) if datasets else catalogue(data_root))
    return 0


@app.command(name="views")
def views_(
    *,
    methods: Annotated[list[str] | None, Several] = None,
    datasets: Annotated[list[str] | None, Several] = None,
    images: Annotated[int, Number] = 8,
    seed: Annotated[int, Number] = 0,
    data_root: Path | None = None,
    out: Path = Path("runs/views"),
) -> int:
    """Draw images and the views that methods get of them, by every augmentation backend: a PNG for each method and dataset.

    Parameters
    ----------
    methods
        Methods: names, globs, or all; default: simclr.
    datasets
        Benchmarks: names, globs, or all; default: cifar10lt.
    images
        Images of the benchmark, a row each.
    seed
        Of the choice of images and of their views.
    data_root
        Where the images are or will be put; default: the user's cache folder.
    out
        Folder of the PNGs.
    """
    check_names(methods, datasets)
    from commands.views import draw_galleries

    for line in draw_galleries(methods or ["simclr"], datasets or ["cifar10lt"], data_root, out, images, seed):
        print(line, flush=True)
    return 0


@app.command(name="data")
def data_(
    datasets: Annotated[list[str] | None, Several] = None,
    *,
    check: Annotated[bool, Parameter(negative=())] = False,
    data_root: Path | None = None,
) -> int:
    """Fetch and verify data ahead of time. A line a benchmark; exit status 1 if something is wrong with one.

    Parameters
    ----------
    datasets
        Benchmarks: names, globs, or all (default: cifar10lt).
    check
        Verify again what is there, without network.
    data_root
        Where the data is or will be put; default: the user's cache folder.
    """
    check_names(None, datasets)
    from commands.data import fetch

    well = True
    for good, line in fetch(datasets or ["cifar10lt"], data_root, check=check):
        print(line, flush=True)
        well &= good
    return 0 if well else 1


@app.command
def doctor(*, data_root: Path | None = None) -> int:
    """Tell what is installed, which device and image pipeline will be used and why, and which data is there.

    Parameters
    ----------
    data_root
        Where to look for images; default: the user's cache folder.
    """
    from commands.doctor import diagnosis

    print(diagnosis(data_root))
    return 0


def _report(out: Path, run_ids: list[str] | None = None) -> bool:
    """Writes the reports of a folder of runs and prints tables. False if there is nothing to report."""
    from commands.report import report as write_report

    written = write_report(out, run_ids)
    if written is None:
        return False
    print("\n".join(["", written.text, "", *(f"written: {place}" for place in written.places)]))
    return True


def main(arguments: list[str] | None = None) -> int:
    """Runs a command (default: the process's arguments); a user's mistake becomes one line and exit status 2."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[Messages()])
    try:
        return app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except UnusedCliTokensError as error:
        token = (error.unused_tokens or [""])[0]
        commands = [name for name in app if not name.startswith("-")]
        print(f"bench.py: {token!r} is neither a command nor an option{nearest(token, commands)}", file=sys.stderr)
        return 2
    except (UserError, CycloptsError) as error:
        print(f"bench.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `bench.py list | head`: the reader has seen enough; a grid that is not trained is another matter
        sys.stdout = None
        told = (sys.argv[1:] if arguments is None else arguments)[:1]
        return 0 if told and told[0] in TELLING else 1
    except OSError as error:
        print(
            f"bench.py: {error.filename or 'a file'}: {error.strerror or error}; check the disk and the path", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print("bench.py: stopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
