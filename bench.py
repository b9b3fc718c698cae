#!/usr/bin/env python
"""Command line of the suite: parse, plan, run, report. (Longer than other files: its docstrings are the help texts.)"""

import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from cyclopts import App, Argument, CoercionError, CycloptsError, Parameter, UnknownOptionError, UnusedCliTokensError

from core.errors import FailedInMain, ProcessEnded, UserError, is_out_of_memory, memory_message
from core.registry import ALL
from core.terminal import Messages, clock, print_any_text, show
from core.version import version_text
from grid.option_values import Names, Number, Numbers, Texts
from grid.options import GridOptions, LauncherOptions, Preset, check_local, check_names, check_positive, current_spelling
from grid.options_file import OPTION, apply_file, save_options
from grid.unknown_words import about_option, about_word

app = App(
    name="bench.py",
    help="Self-supervised learning on long-tailed images: trains a grid of methods on a grid of benchmarks, probes the frozen "
    "features and writes the tables. Without a command it runs the grid.",
    version=version_text,
    config=apply_file,
    help_on_error=False,
    suppress_keyboard_interrupt=False,
)


log = logging.getLogger(__name__)
PRINTING = ("list", "plan", "status", "doctor", "--version")  # commands that only print
HELP = frozenset({"--help", "-h"})


@app.default
@app.command
def run(
    options: GridOptions = GridOptions(),
    launcher: LauncherOptions = LauncherOptions(),
    *,
    checkpoint_seconds: float = 60.0,
    config: Path | None = None,
) -> int:
    """Train, probe and write tables. Finished runs are skipped; a stopped run resumes when the command is repeated.

    Parameters
    ----------
    checkpoint_seconds
        Seconds between checkpoints. A kill loses at most this training time and that of writing one.
    config
        YAML or TOML file of options, such as `seeds: [0, 1]`; the command line has priority. grid.yaml in --out is one.
    """
    check_names(options.methods, options.datasets, options.probes)
    if not checkpoint_seconds >= 0:
        raise UserError(f"--checkpoint-seconds {checkpoint_seconds}: give a number of seconds")
    if launcher.launcher == "slurm":
        return _submit(options, launcher, checkpoint_seconds)
    check_local(launcher)
    from grid.torchrun import process_group

    with process_group(options.device):
        return _run(options, launcher, checkpoint_seconds)


def _run(options: GridOptions, launcher: LauncherOptions, checkpoint_seconds: float) -> int:
    from commands.report import partial_report
    from core.files import writable_folder
    from grid.execute import execute
    from grid.plan import make_plan, plan_text, resolved_options, with_states
    from grid.time_estimate import NO_ESTIMATE, estimate
    from parallel import processes
    from run_store.lease import file_clock
    from training.device import use_device, use_threads

    plan = processes.from_main(lambda: with_states(make_plan(options)))
    processes.from_main(lambda: writable_folder(options.out, "--out"))
    print(plan_text(plan), flush=True)
    use_threads(plan.parallelism[1])
    use_device(plan.device)
    processes.from_main(plan.load_data)
    if "SUBMITIT_EXECUTOR" not in os.environ:  # else this is a Slurm worker, and the submission has saved its options
        processes.from_main(lambda: save_options(resolved_options(options, plan), launcher, checkpoint_seconds))
    estimated = estimate(plan) if processes.count() == 1 else NO_ESTIMATE
    if plan.unfinished and estimated is not NO_ESTIMATE:
        print(f"estimated time for training and probes: {estimated.text}", flush=True)
    since = file_clock(options.out)
    todo, started = estimated.order(plan.unfinished), time.monotonic()
    failed, warned = {}, []
    for ended, (run_, reason) in enumerate(execute(plan, checkpoint_seconds, todo), start=1):
        if reason is not None:
            failed[run_.path.name] = reason
            continue
        if not processes.is_main():
            continue
        warned += [(run_.path.name, warning) for warning in run_.training_facts().warnings]
        if ended < len(todo):
            left = estimated.wall_seconds() - (time.monotonic() - started)
            how_far = f"{ended} of {len(todo)} runs ended" + (f", about {clock(left)} left" if left > 0 else "")
            try:
                table = partial_report(options.out, plan.runs, run_.config.run_id, since)
                show("\n" + "; ".join(filter(None, [how_far, table])) + "\n")
            except Exception as error:  # must not end the grid
                log.warning("no tables yet: %s", _any_line(error))
    status = 1 if failed else 0
    try:
        processes.from_main(lambda: _report(options.out, [run.config.run_id for run in plan.runs], since))
    except Exception as error:  # must not hide the failures
        if processes.is_main():
            print(f"bench.py: no report: {_any_line(error)}", file=sys.stderr)
        status = 1
    if not processes.is_main():
        return status
    for name, warning in warned:
        print(f"WARNING {name}: {warning}", file=sys.stderr)
    for name, reason in failed.items():
        print(f"FAILED {name}: {reason}", file=sys.stderr)
    return status


def _submit(options: GridOptions, launcher: LauncherOptions, checkpoint_seconds: float) -> int:
    """Submits the grid to Slurm, after all that can be checked on this host."""
    from core.files import writable_folder
    from grid.execute import check_data
    from grid.plan import plan_text, resolved_options
    from grid.slurm import make_launch, submit

    launch = make_launch(options, launcher)
    writable_folder(options.out, "--out")
    print(plan_text(launch.plan, launch.text), flush=True)
    if not launch.workers:
        print("nothing to submit: all runs are DONE")
        return 0
    check_data(launch.plan)
    save_options(resolved_options(options, launch.plan), launcher, checkpoint_seconds)
    print(submit(launch, checkpoint_seconds))
    return 0


@app.command
def plan(options: GridOptions = GridOptions(), *, config: Path | None = None) -> int:
    """Print the runs of a grid, their states and a time estimate. Trains nothing. Exit status 2 if files are missing.

    Parameters
    ----------
    config
        YAML or TOML file of options, such as `seeds: [0, 1]`; the command line has priority. grid.yaml in --out is one.
    """
    check_names(options.methods, options.datasets, options.probes)
    from grid.plan import make_plan, plan_text
    from grid.time_estimate import estimate
    from training.device import use_threads

    plan = make_plan(options)
    plan.check_sizes()
    text = plan_text(plan)
    print(text, flush=True)
    use_threads(plan.parallelism[1])
    counts = {"DONE": 0, "RESUMABLE": 0, "NEW": 0} | Counter(plan.states)
    print(", ".join(f"{count} {state}" for state, count in counts.items()), end="; ")
    found = estimate(plan)
    print(f"estimated time for training and probes: {found.text}")
    for line in found.missing.values():
        if line not in text:  # of images; that of index lists is in the text
            print(line)
    return 2 if found.missing else 0


@app.command
def status(*, out: Path = Path("runs"), watch: float | None = None) -> int:
    """Print what runs where: the state of each run, its worker, epoch, images per second and remaining time.

    Shows the runs of the last grid that was started in the folder and all others there, on any machine that has the folder.

    Parameters
    ----------
    out
        Folder of runs.
    watch
        Print again every so many seconds, until all runs are done or have failed, or Ctrl-C.
    """
    if watch is not None and not 0 < watch <= 86400:
        raise UserError(f"--watch {watch}: give a number of seconds above 0, up to 86400")
    from commands.status import status as status_text
    from commands.status import watch as watch_status
    from core.files import check_folder

    check_folder(out, "--out")
    if watch is None:
        print(status_text(out)[0])
    else:
        watch_status(out, watch)
    return 0


@app.command
def report(
    *,
    out: Path = Path("runs"),
    baselines: Annotated[list[str] | None, Names] = None,
    no_baselines: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write tables, figures and the HTML page again from the records. Tables have the comparable shipped results too.

    Parameters
    ----------
    out
        Folder of runs.
    baselines
        Methods whose shipped results the printed tables have, beside SimCLR: names, globs, or a group such as every;
        default: all, those of the main job. The files have those of every method.
    no_baselines
        Only results of the folder.
    """
    if no_baselines and baselines:
        raise UserError("--baselines and --no-baselines exclude each other; omit one of them")
    check_names(baselines)
    from core.files import check_folder

    check_folder(out, "--out")
    if not out.is_dir():
        raise UserError(f"folder {out} does not exist; give the folder of runs with --out")
    if not _report(out, baselines=() if no_baselines else baselines or (ALL,)):
        raise UserError(f"{out} has no records; train a method first, or give the folder of runs with --out")
    return 0


@app.command(name="serve")
def serve_(*, out: Path = Path("runs"), port: Annotated[int, Number] = 8000, host: str = "127.0.0.1") -> int:
    """Serve page, tables and figures of a folder of runs, and a status page; both pages reload themselves while runs are left.

    Parameters
    ----------
    out
        Folder of runs.
    port
        Port of the server.
    host
        Address of the server; the default can be reached from this machine only.
    """
    from commands.serve import serve

    serve(out, host, port)
    return 0


@app.command
def probe(
    path: Path,
    *,
    datasets: Annotated[list[str] | None, Names] = None,
    variants: Annotated[list[str] | None, Names] = None,
    splits: Annotated[list[int] | None, Numbers] = None,
    probes: Annotated[list[str] | None, Names] = None,
    backbone: str | None = None,
    key: str | None = None,
    prefix: str | None = None,
    device: str = "auto",
    views: str = "auto",
    workers: Annotated[int | None, Number] = None,
    data_root: Path | None = None,
    out: Path | None = None,
) -> int:
    """Probe a trained run again or on other data, or external pretrained weights. Trains nothing.

    Parameters
    ----------
    path
        Run folder, or a file of weights: .safetensors, or a state dict written by torch.save.
    datasets
        Benchmarks: names or globs; default: that of the run, or cifar10lt.
    variants
        Long-tailed variants; default: that of the run on its own benchmark, else the first of each benchmark.
    splits
        Splits; default: that of the run on its own benchmark, else 1.
    probes
        Names, globs or all; default: those that `list` marks as default.
    backbone
        Network of the weights in a file, by its name in this suite or in timm.
    key
        Key of the state dict, in a file that holds several.
    prefix
        Prefix of the backbone's parameter names, in a file that holds several networks.
    device
        auto, cpu, cuda or cuda:N.
    views
        Augmentation backend: torch, dali, kornia or torchvision.
    workers
        CPU threads; default: all cores.
    data_root
        Folder of the data sets; default: the user's cache folder.
    out
        Folder of runs and tables; default: the parent of the run folder, or runs.
    """
    check_names(None, datasets, probes)
    from probing.probe_path import probe_path
    from training.device import use_threads

    check_positive("--workers", workers)
    use_threads(workers)
    probed: list[tuple[Path, str]] = []
    try:
        probe_path(
            path,
            datasets=datasets or (),
            variants=variants or (),
            splits=splits or (),
            probes=probes or (),
            backbone=backbone,
            key=key,
            prefix=prefix,
            out=out,
            data_root=data_root,
            device=device,
            views=views,
            on_probed=lambda folder, run_id: probed.append((folder, run_id)),
        )
    except UserError:
        _report_probed(probed)
        raise
    _report_probed(probed)
    return 0


@app.command(name="export")
def export_(run: Path, *, to: Path | None = None, push: str | None = None) -> int:
    """Export the backbone of a trained run as safetensors with a model card, in the layout of timm and the Hugging Face hub.

    Parameters
    ----------
    run
        Run folder.
    to
        Folder to write; default: exports/NAME in the folder of runs, with the name of the run.
    push
        Repository on the Hugging Face hub, USER/NAME, to upload the export to; it is created if it does not exist. An existing
        export of the run is uploaded as it is.
    """
    from commands.export import export

    folder = export(run, to, reuse=push is not None)
    print(f"exported: {folder}", flush=True)
    if push is not None:
        from commands.hub import upload

        print(f"uploaded: {upload(folder, push)}")
    return 0


@app.command(name="list")
def list_(
    *,
    datasets: Annotated[list[str] | None, Names] = None,
    passport: Annotated[bool, Parameter(negative=())] = False,
    variant: str | None = None,
    splits: Annotated[list[int] | None, Numbers] = None,
    data_root: Path | None = None,
) -> int:
    """List methods with their hyper-parameters, datasets, OOD pools, backbones, probes and presets; or datasets in detail.

    Parameters
    ----------
    datasets
        Only these benchmarks: names, globs, or all.
    passport
        Print their passports: source, class counts, groups, and the SHA-256 of every index list.
    variant
        Variant of the passports; default: the first of each benchmark.
    splits
        Splits of the passports; default: 1.
    data_root
        Folder of the data sets and OOD pools; default: the user's cache folder.
    """
    check_names(None, datasets)
    from commands.list import list_ as list_text

    print(list_text(datasets, passport=passport, variant=variant, splits=splits, data_root=data_root))
    return 0


@app.command(name="views")
def views_(
    *,
    methods: Annotated[list[str] | None, Names] = None,
    datasets: Annotated[list[str] | None, Names] = None,
    images: Annotated[int, Number] = 8,
    seed: Annotated[int, Number] = 0,
    data_root: Path | None = None,
    out: Path = Path("runs/views"),
) -> int:
    """Draw images and their augmented views by every augmentation backend: one PNG per method and dataset.

    Parameters
    ----------
    methods
        Methods: names, globs, or a group such as all; default: simclr.
    datasets
        Benchmarks: names, globs, or all; default: cifar10lt.
    images
        Number of images, one per row.
    seed
        Seed of the choice of images and of their augmentation.
    data_root
        Folder of the data sets; default: the user's cache folder.
    out
        Folder of the PNGs.
    """
    check_names(methods, datasets)
    from commands.views import views

    for line in views(methods or ["simclr"], datasets or ["cifar10lt"], data_root, out, images, seed):
        print(line, flush=True)
    return 0


data_app = App(name="data")
app.command(data_app)


@data_app.default
def data_(
    datasets: Annotated[list[str] | None, Names] = None,
    *,
    check: Annotated[bool, Parameter(negative=())] = False,
    data_root: Path | None = None,
) -> int:
    """Download and verify data sets. Prints one line per benchmark; exit status 1 if one of them has an error.

    Parameters
    ----------
    datasets
        Benchmarks: names, globs, or all (default: cifar10lt).
    check
        Verify existing files without network.
    data_root
        Folder of the data sets; default: the user's cache folder.
    """
    check_names(None, datasets)
    from commands.data import data

    return _print_checks(data(datasets or ["cifar10lt"], data_root, check=check))


@data_app.command(name="make-lists")
def make_lists_(path: Path, *, to: Path | None = None, variant: str | None = None, split: Annotated[int, Number] = 1) -> int:
    """Write the index lists of a folder of images, as `folder:PATH` makes them, in the format of the benchmark folderlt.

    Parameters
    ----------
    path
        Folder with a folder of images per class, or with train, val and test of these, or with webdataset shards.
    to
        Folder to write; default: NAME-lists in the current folder, with the name of the benchmark.
    variant
        Variant of the pretraining list, such as ir=50; default: all training images.
    split
        Split of the variant.
    """
    from commands.data import make_lists

    for line in make_lists(path, to, variant, split):
        print(line)
    return 0


@app.command(name="verify-resume")
def verify_resume_(
    methods: Annotated[list[str], Names],
    *,
    dataset: str = "digitslt",
    preset: Preset = "smoke",
    epochs: Annotated[int, Number] = 4,
    batch_size: Annotated[int, Number] = 32,
    set: Annotated[list[str] | None, Texts] = None,
    device: str = "cpu",
    data_root: Path | None = None,
) -> int:
    """Train methods with and without kills and compare the results bit by bit; exit status 1 if one of them differs.

    Each method is trained in a temporary folder without interruption, then again by processes that are killed at four places
    and resume. One line per method has the result: the first tensor that differs, and the state that checkpoints do not store.

    Parameters
    ----------
    methods
        Methods: names, globs, or a group such as all.
    dataset
        Benchmark; the default needs no download.
    preset
        Scale of the runs.
    epochs
        Epochs of the runs, at least 2.
    batch_size
        Batch size of the runs.
    set
        METHOD.KEY=VALUE or recipe.KEY=VALUE. Without METHOD.pool, random images replace the OOD pool.
    device
        auto, cpu, cuda or cuda:N. A GPU is not deterministic in general.
    data_root
        Folder of the data sets; default: the user's cache folder.
    """
    check_names(methods, [dataset])
    from commands.verify_resume import verify_resume

    return _print_checks(
        verify_resume(
            methods,
            dataset=dataset,
            preset=preset,
            epochs=epochs,
            batch_size=batch_size,
            changes=set or (),
            device=device,
            data_root=data_root,
        )
    )


@app.command(name="verify-results")
def verify_results_(
    row: str,
    *,
    dataset: str | None = None,
    preset: Preset | None = None,
    split: Annotated[int, Number] = 1,
    seed: Annotated[int, Number] = 0,
    probes: Annotated[list[str] | None, Names] = None,
    device: str = "auto",
    data_root: Path | None = None,
    out: Path | None = None,
) -> int:
    """Train a run of the shipped results again and compare its accuracies; exit status 1 if one of them is not reproduced.

    An accuracy is reproduced if it differs by at most the spread between machines (results/spread.json, docs/baselines.md).

    Parameters
    ----------
    row
        Run id, or its first digits, or name of a method: its run with the settings of the preset.
    dataset
        Benchmark of the method's run; default: any that has one.
    preset
        Preset of the method's run; default: any that has one.
    split
        Split of the method's run.
    seed
        Seed of the method's run.
    probes
        Names or globs; default: all that the run has.
    device
        auto, cpu, cuda or cuda:N.
    data_root
        Folder of the data sets; default: the user's cache folder.
    out
        Folder of runs, where the run stays; default: a temporary one.
    """
    check_names(None, dataset and [dataset], probes)
    from commands.verify_results import verify_results

    return _print_checks(
        verify_results(
            row,
            dataset=dataset,
            preset=preset,
            split=split,
            seed=seed,
            probes=probes or (),
            device=device,
            data_root=data_root,
            out=out,
        )
    )


@app.command
def submit(runs: Annotated[list[Path], Parameter(negative=())], *, name: str, out: Path | None = None) -> int:
    """Check the runs of a method and write them to one file, for the leaderboard. What it checks: docs/baselines.md.

    Parameters
    ----------
    runs
        Run folders, or folders of runs: one method in one setting, on all official splits.
    name
        Name of the submission in the leaderboard.
    out
        File to write; default: NAME.json.
    """
    from commands.submit import submit as write_submission

    print(f"written: {write_submission(runs, name, out)}")
    return 0


@app.command
def leaderboard(*, out: Path | None = None) -> int:
    """Write LEADERBOARD.md again from the shipped results and submissions in results/, or a page of them.

    Parameters
    ----------
    out
        Folder: write page, tables and figures there, and not LEADERBOARD.md.
    """
    from commands.leaderboard import write_leaderboard, write_leaderboard_page

    print(f"written: {write_leaderboard() if out is None else write_leaderboard_page(out)}")
    return 0


@app.command(name="check-method")
def check_method_(methods: Annotated[list[str], Names], *, set: Annotated[list[str] | None, Texts] = None) -> int:
    """Check short runs of methods for mistakes in their code; exit status 1 if a check fails.

    One line per check: gradient, batch norms, branches without gradient, buffers, their effect on loss and scores, labels, loss
    on one batch, two processes, resume after kills. It names the parameter, module or buffer that fails. Downloads nothing.

    Parameters
    ----------
    methods
        Methods: names, globs, or a group such as all.
    set
        METHOD.KEY=VALUE or recipe.KEY=VALUE. Without METHOD.pool, random images replace the OOD pool.
    """
    check_names(methods)
    from commands.check_method import check_method

    return _print_checks(check_method(methods, set or ()))


@app.command
def doctor(*, data_root: Path | None = None, out: Path | None = None) -> int:
    """Print installed packages, the device and augmentation backends with the reasons for their choice, and available data.

    Parameters
    ----------
    data_root
        Folder of the data sets; default: the user's cache folder.
    out
        Folder of runs, whose locks are tested.
    """
    from commands.doctor import doctor as doctor_text

    print(doctor_text(data_root, out))
    return 0


def _print_checks(lines: Iterable[tuple[bool, str]]) -> int:
    """Prints lines as they are made, each with whether its check passed; returns the exit status, 1 if one did not."""
    passed = True
    for good, text in lines:
        print(text, flush=True)
        passed &= good
    return 0 if passed else 1


def _report_probed(probed: Sequence[tuple[Path, str]]) -> None:
    """Writes the report of each folder of runs in which networks were probed; `probed`: their folders and run ids."""
    for parent in dict.fromkeys(folder.parent for folder, _ in probed):
        _report(parent, [run_id for folder, run_id in probed if folder.parent == parent])


def _report(out: Path, run_ids: list[str] | None = None, since: float | None = None, baselines: Sequence[str] = (ALL,)) -> bool:
    """Writes tables, figures and page of a folder of runs and prints tables. Returns False if there is no record and no run.

    With `since`, a report that another worker has written after this time is not written again.
    """
    from commands.report import exclusive_report, shared_report

    written = exclusive_report(out, run_ids, baselines=baselines) if since is None else shared_report(out, run_ids, since)
    if written is None:
        return False
    by = "written by another worker" if written.by_another else "written"
    print("\n".join(["", written.text, "", *(f"{by}: {path}" for path in written.paths)]))
    return True


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line (default: `sys.argv`). An error that the user can fix becomes one line and exit status 2."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[Messages()])
    words = [current_spelling(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    try:
        return app(words, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except ProcessEnded as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 1
    except FailedInMain:
        return 1
    except (BrokenPipeError, SystemExit):  # `bench.py list | head` is a success; a grid that is not trained is not
        sys.stdout = None  # SystemExit: rich, which prints the help, raises it
        return 0 if words and (words[0] in PRINTING or HELP.intersection(words)) else 1
    except Exception as error:
        line = _line(error)
        if line is None:
            raise
        if os.environ.get("LOCAL_RANK", "0") == "0":  # under torchrun, all processes of a machine have the same error
            print(f"bench.py: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench.py: stopped; repeat the command to resume", file=sys.stderr)
        return 130


def _unknown(error: UnknownOptionError | UnusedCliTokensError) -> str:
    """One line on an option or a word that the command does not have."""
    command = error.app or app
    options = {name for argument in command.assemble_argument_collection() for name in argument.names}
    if isinstance(error, UnknownOptionError):
        option, words = error.token.keyword or error.token.value, error.root_input_tokens or []
        after = next((rest for word, rest in pairwise([*words, ""]) if word == option), "")
        joined = next((word.partition("=")[2] for word in words if word.startswith(f"{option}=")), "")
        return about_option(option, joined or ("" if after.startswith("-") else after), options)
    commands = set() if error.command_chain else {name for name in app if not name.startswith("-")}
    return about_word((error.unused_tokens or [""])[0], commands, options)


def _place_of(argument: Argument) -> str:
    """Where the values of an option are from: the option, and the file of `--config` if it is in one."""
    (name, *_), sources = argument.names, {token.source for token in argument.tokens}
    return f"{OPTION} {sources.pop()}: {name.removeprefix('--')}" if not sources & {"", "cli"} else name


def _any_line(error: Exception) -> str:
    """One line on any error; the command `report` prints the traceback of one that the user cannot fix."""
    return _line(error) or f"{type(error).__name__}: {' '.join(str(error).split())}; run `bench.py report` for the traceback"


def _line(error: Exception) -> str | None:
    """One line on an error that the user can fix, also one of a file or of too little memory; None for any other error."""
    if isinstance(error, UnknownOptionError | UnusedCliTokensError):
        return _unknown(error)
    if isinstance(error, CoercionError) and error.msg is not None and error.argument is not None:
        return f"{_place_of(error.argument)}: {error.msg}"
    if isinstance(error, UserError | CycloptsError):
        return " ".join(str(error).split())
    if is_out_of_memory(error):
        return memory_message(error)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return f"{error.filename or 'a file'}: {error.strerror or error}; check the disk and the path"
    return None


if __name__ == "__main__":
    print_any_text()
    exit_status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C while Python shuts down prints no traceback
    sys.exit(exit_status)
