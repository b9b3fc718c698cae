"""What `probe PATH` means: a run's folder or a file of weights, on which benchmarks and splits, under which probes."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backbones.corpus import Corpus
from core.errors import UserError
from core.files import writable_folder
from data.benchmark import BALANCED, BENCHMARKS, Benchmark, Images, data_folder
from data.cache import DataThere
from data.lists.longtail import IndexLists
from data.passport import Passport, passport_of
from data.views.executor import EXECUTORS, choose_executor, image_set
from eval.probes import PROBES
from grid.plan import allowed_probes
from probing.metadata import of_data, versions
from probing.pretrained import Subject, of_file, of_run
from probing.probe import probe_backbone, probe_run
from run_store.folder import RunFolder
from run_store.loading import CONFIG, check_done, open_trained
from run_store.probe_folder import ProbedFolder, Target
from training.device import choose_device
from training.prepare import prepare

log = logging.getLogger(__name__)


def probe_path(
    path: Path,
    *,
    datasets: Sequence[str] = (),
    profiles: Sequence[str] = (),
    splits: Sequence[int] = (),
    probes: Sequence[str] = (),
    backbone: str | None = None,
    key: str | None = None,
    prefix: str | None = None,
    out: Path | None = None,
    data_root: Path | None = None,
    device: str = "auto",
    views: str = "auto",
) -> list[tuple[Path, str]]:
    """Probes what `path` holds; nothing is trained.

    A run's folder gets the probes that it lacks, or its backbone is probed on other data, in a folder beside it. A file of
    weights is probed as they are.

    Args:
        path: folder of a trained run, or a file that `backbones.state_dict.read_tensors` reads.
        datasets: names or globs; none: the run's own, or cifar10lt.
        profiles: of each; none: the run's own on its own benchmark, else each benchmark's first.
        splits: of each; none: the run's own on its own benchmark, else 1.
        probes: names, globs or families; none: the quick ones.
        backbone: the network that a file's weights are of.
        key: of the state dict in a file that holds several.
        prefix: of the backbone's names in a file.
        out: folder of runs and tables; None: where a run lies, or `runs`.
        data_root: where the images are or will be put.
        device: as `choose_device` takes it.
        views: as `choose_executor` takes it; a run on its own data keeps its own.

    Returns:
        Folder and id of each that now has all these probes.

    Raises:
        UserError: the first thing that cannot be had or does not fit.
    """
    run = open_trained(path) if path.is_dir() else None
    _check_options(path, run, backbone, key, prefix)
    subject = of_run(run) if run is not None else of_file(path, backbone or "", key, prefix)
    targets, there = _targets(run, datasets, profiles, splits), DataThere(data_folder(data_root))
    if run is not None and targets != [_own(run)]:
        check_done(run)
    chosen = {target.dataset: allowed_probes(target.dataset, probes, there.root) for target in targets}
    asked = Asked(targets, chosen, there, choose_device(device), views)
    beside = out or (run.path.parent if run is not None else Path("runs"))
    probed = []
    for target in targets:
        if run is not None and target == _own(run):
            _probe_own(run, target, asked)
            probed.append((run.path, run.config.run_id))
        else:
            folder = _probe_subject(subject, target, asked, beside)
            probed.append((folder.path, folder.run_id))
    return probed


@dataclass(frozen=True)
class Asked:
    """What the options come to, beside the weights."""

    targets: list[Target]
    probes: dict[str, list[str]]  # of each dataset: those that its index lists allow
    there: DataThere
    device: torch.device
    views: str

    def data(self, target: Target) -> tuple[Benchmark, Images, IndexLists, Passport]:
        """The data of a split, fetched where it is missing. Raises UserError where it cannot be had."""
        needs = {need for probe in self.probes[target.dataset] for need in PROBES[probe].needs} | {"pretrain", "test"}
        balanced = {BALANCED} & {other.profile for other in self.targets}  # images are loaded once for all targets
        benchmark, images = self.there.benchmark(target.dataset), self.there.load(target.dataset, needs | balanced)
        lists = benchmark.lists(images.train_labels, target.profile, target.split)
        passport = passport_of(benchmark, target.profile, target.split, images.train_labels, lists, images.source)
        return benchmark, images, lists, passport


def _check_options(path: Path, run: RunFolder | None, backbone: str | None, key: str | None, prefix: str | None) -> None:
    """Raises UserError where the options do not go with what the path holds."""
    if run is not None and not (backbone is None and key is None and prefix is None):
        raise UserError(f"{path} is a run's folder, and tells its network; leave out --backbone, --key and --prefix")
    if run is None and path.name == "weights.safetensors" and (path.parent / CONFIG).exists():
        raise UserError(f"{path} is a part of a run, with more than its backbone; give the folder {path.parent}")
    if run is None and path.is_file() and backbone is None:
        raise UserError(f"{path} does not say which network it is of; name it with --backbone, such as resnet18")


def _own(run: RunFolder) -> Target:
    return Target(run.config.dataset, run.config.profile, run.config.split)


def _targets(run: RunFolder | None, datasets: Sequence[str], profiles: Sequence[str], splits: Sequence[int]) -> list[Target]:
    """Every split that is meant, each once; all are checked before anything is probed."""
    own = None if run is None else _own(run)
    everything = [name for name, benchmark in BENCHMARKS if benchmark.suite]
    names = BENCHMARKS.select(datasets, everything) if datasets else [own.dataset if own else "cifar10lt"]
    targets: dict[Target, None] = {}
    for name in names:
        benchmark = BENCHMARKS[name]()
        home = own if own and own.dataset == name else None
        asked: Sequence[str | None] = profiles or [home.profile if home else None]
        for profile in map(benchmark.profile, asked):
            for split in splits or [home.split if home else 1]:
                benchmark.check_split(profile, split)
                targets[Target(name, profile, split)] = None
    return list(targets)


def _probe_own(run: RunFolder, target: Target, asked: Asked) -> None:
    """Adds the probes that a run lacks, as `run` would."""
    config = run.config
    if asked.views not in ("auto", config.executor):
        raise UserError(f"--views {asked.views}: the views of {run.path.name} are made by {config.executor}; leave it out")
    missing = run.missing(asked.probes[target.dataset])
    if not missing:
        log.info("%s has records of all these probes", run.path)
        return
    lacking = EXECUTORS[config.executor].missing(asked.device)
    if lacking:
        raise UserError(f"the views of {run.path.name} are made by {config.executor}: {lacking}")
    with run.lock():
        benchmark, images, lists, passport = asked.data(target)
        run.begin(passport)
        training = prepare(config, image_set(images.train[lists.pretrain]), asked.device)
        run.load_weights(training.method)
        probe_run(run, training, benchmark, images, lists, passport, missing)
        run.finish()


def _probe_subject(subject: Callable[[Benchmark], Subject], target: Target, asked: Asked, out: Path) -> ProbedFolder:
    """Probes a backbone on one split; what is recorded already is left as it is.

    Args:
        subject: `of_file` or `of_run`.
        target: the split.
        asked: how.
        out: folder of runs and tables.

    Raises:
        UserError: the backbone does not fit or cannot take the images, or the folder has records of other data.
    """
    benchmark = asked.there.benchmark(target.dataset)
    executor, _ = choose_executor(asked.views, in_files=benchmark.in_files, device=asked.device)
    probed = subject(benchmark)
    folder = ProbedFolder.of(probed, target, executor, out)
    missing = folder.missing(asked.probes[target.dataset])
    if not missing:
        log.info("%s has records of all these probes", folder.path)
        return folder
    benchmark, images, lists, passport = asked.data(target)
    writable_folder(folder.path, "--out")
    with folder.lock():
        folder.begin(passport)
        counts = np.array(passport.deciding)
        maker = EXECUTORS[executor]([], asked.device)
        bf16 = probed.told["precision"] == "bf16"
        told = of_data(passport, benchmark.groups) | dict(probed.told)
        probe_backbone(
            probed.backbone.to(asked.device).to(memory_format=torch.channels_last),
            Corpus(image_set(images.train[lists.pretrain]), maker, probed.shown, None, bf16),
            benchmark,
            images,
            lists,
            counts,
            missing,
            label=f"{probed.label}, probed on {target.dataset} split {target.split}",
            seed=told["seed"],
            folder=folder.path,
            told={**told, "run_id": folder.run_id, "executor": executor, "versions": versions()},
            keep=folder.add,
        )
    return folder
