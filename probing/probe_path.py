"""The command `probe PATH`: probes a run folder, a file of weights or a network in memory on given benchmarks and splits."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from backbones.corpus import Corpus
from core.errors import UserError
from data.benchmark import BALANCED, BENCHMARKS, Benchmark
from data.cache import DataCache
from data.datasets.image_folder import set_place
from data.root import data_folder
from data.split import Split
from data.views.backend import BACKENDS, choose_backend
from probing.metadata import data_metadata, versions
from probing.pretrained import PretrainedBackbone, from_file, from_module, from_run
from probing.probe import probe_backbone, probe_run
from probing.selection import allowed_probes, needed_lists
from run_store.folder import RunFolder
from run_store.layout import CONFIG, WEIGHTS
from run_store.loading import check_done, open_run
from run_store.probe_folder import ProbeFolder
from run_store.record_folder import RecordFolder
from run_store.records import Record
from training.device import choose_device, use_device
from training.prepare import prepare

log = logging.getLogger(__name__)
FORMAT = 1  # of the configuration; incremented when probing the same weights gives other results


def probe_path(
    path: Path,
    *,
    datasets: Sequence[str] = (),
    variants: Sequence[str] = (),
    splits: Sequence[int] = (),
    probes: Sequence[str] = (),
    backbone: str | None = None,
    key: str | None = None,
    prefix: str | None = None,
    out: Path | None = None,
    data_root: Path | None = None,
    device: str = "auto",
    views: str = "auto",
    on_probed: Callable[[Path, str], None] = lambda folder, run_id: None,
) -> list[tuple[Path, str]]:
    """Probes a run folder or a file of weights; trains no backbone.

    On the data of a run, its missing probes are added to its folder. On other data, records are written to a separate folder.

    Args:
        path: folder of a trained run, or a file that `backbones.state_dict.read_tensors` reads.
        datasets: names or globs; none: that of the run, or cifar10lt.
        variants: of each benchmark; none: that of the run on its own benchmark, else the first of each.
        splits: of each benchmark; none: that of the run on its own benchmark, else 1.
        probes: names, globs or families; none: the default probes.
        backbone: name of the network of a file.
        key: of the state dict, in a file with several.
        prefix: of the parameter names of the backbone in a file.
        out: folder of runs and tables; None: the parent of the run folder, or `runs`.
        data_root: folder of the data sets; None: the user's cache folder.
        device: auto, cpu, cuda or cuda:N.
        views: augmentation backend, or auto; the backend of a run cannot be changed on its own data.
        on_probed: called with folder and run id after each target, as a later one may raise.

    Returns:
        Folder and run id of each target.

    Raises:
        UserError: invalid options, weights or data.
    """
    if path.is_dir() and not (path / CONFIG).exists():
        raise UserError(f"{path} is not a run folder: it has no {CONFIG}; give a run folder, or a file of weights")
    run = open_run(path) if path.is_dir() else None
    if run is not None and not datasets:
        _set_place(run)
    _check_options(path, run, backbone, key, prefix)
    load = from_run(run) if run is not None else from_file(path, backbone or "", key, prefix)
    targets = _targets(run, datasets, variants, splits)
    if run is not None and targets != [_own(run)]:
        check_done(run)
    if run is not None and out is not None and _own(run) in targets and out.resolve() != run.path.resolve().parent:
        raise UserError(f"--out {out}: results on the data of a run are written to its folder, {run.path}; omit --out")
    options = _options(targets, probes, data_root, device, views)
    use_device(options.device)
    out = out or (run.path.parent if run is not None else Path("runs"))
    probed = []
    for target in targets:
        if run is not None and target == _own(run):
            _probe_own(run, target, options)
            probed.append((run.path, run.config.run_id))
        else:
            folder = _probe_pretrained(load, target, options, out)
            probed.append((folder.path, folder.run_id))
        on_probed(*probed[-1])
    return probed


def probe_module(
    network: nn.Module,
    *,
    datasets: Sequence[str] = (),
    variants: Sequence[str] = (),
    splits: Sequence[int] = (),
    probes: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "auto",
    views: str = "auto",
) -> list[Record]:
    """Probes a copy of a network in memory, in float32; writes nothing and returns the records.

    Args:
        network: (B, 3, S, S) to (B, d).

    The other arguments, and errors, are those of `probe_path`.
    """
    targets = _targets(None, datasets, variants, splits)
    options = _options(targets, probes, data_root, device, views)
    load = from_module(network)
    with TemporaryDirectory() as out:
        folders = [_probe_pretrained(load, target, options, Path(out)) for target in targets]
        return [record for folder in folders for record in folder.records()]


@dataclass(frozen=True)
class Target:
    """One split of one profile of one benchmark."""

    dataset: str
    profile: str
    split: int


@dataclass(frozen=True)
class _Options:
    """Resolved options, except those of the weights."""

    targets: list[Target]
    probes: dict[str, list[str]]  # by dataset: those whose index lists it has
    data: DataCache
    device: torch.device
    views: str

    def split(self, target: Target) -> Split:
        """Loads the data of a target; downloads missing data. Raises UserError if it is not available."""
        absent = self.data.benchmark(target.dataset).missing_lists(self.data.root)
        needs = needed_lists(self.probes[target.dataset], absent) | {"pretrain", "test"}
        balanced = {BALANCED} & {other.profile for other in self.targets}  # images are loaded once for all targets
        return self.data.split(target.dataset, target.profile, target.split, needs | balanced)

    def warn_of_changed_data(self, folder: RecordFolder, target: Target) -> None:
        """Logs a warning if the records of a folder are of other data than the current, if that is there; downloads nothing."""
        with suppress(UserError):
            folder.warn_of_changed_data(self.data.passport(target.dataset, target.profile, target.split))


def _options(targets: list[Target], probes: Sequence[str], data_root: Path | None, device: str, views: str) -> _Options:
    """Resolves options of `probe_path`. Raises UserError if they are invalid."""
    data = DataCache(data_folder(data_root))
    chosen = {target.dataset: allowed_probes(target.dataset, probes, data.root) for target in targets}
    return _Options(targets, chosen, data, choose_device(device), views)


def _check_options(path: Path, run: RunFolder | None, backbone: str | None, key: str | None, prefix: str | None) -> None:
    """Raises UserError if the options are invalid for the kind of `path`."""
    if run is not None and not (backbone is None and key is None and prefix is None):
        raise UserError(f"{path} is a run folder, whose configuration names the backbone; omit --backbone, --key and --prefix")
    if run is None and path.name == WEIGHTS and (path.parent / CONFIG).exists():
        raise UserError(f"{path} contains the whole method of a run; give the run folder {path.parent}")
    if run is None and path.is_file() and backbone is None:
        raise UserError(f"{path} needs the name of its network; give it with --backbone, such as resnet18")


def _set_place(run: RunFolder) -> None:
    """Sets the place of the images of a run on a folder of images, which only its passport has."""
    passport = run.passport()
    if passport is not None and passport.source.place:
        set_place(run.config.dataset, Path(passport.source.place))


def _own(run: RunFolder) -> Target:
    return Target(run.config.dataset, run.config.profile, run.config.split)


def _targets(run: RunFolder | None, datasets: Sequence[str], variants: Sequence[str], splits: Sequence[int]) -> list[Target]:
    """Resolves the splits to probe, without duplicates. Raises UserError for an unknown name or split."""
    own = None if run is None else _own(run)
    names = BENCHMARKS.select(datasets) if datasets else [own.dataset if own else "cifar10lt"]
    targets: dict[Target, None] = {}
    for name in names:
        benchmark = BENCHMARKS[name]()
        default = own if own and own.dataset == name else None
        names_or_default: Sequence[str | None] = variants or [default.profile if default else None]
        for profile in map(benchmark.profile, names_or_default):
            for split in splits or [default.split if default else 1]:
                benchmark.check_split(profile, split)
                targets[Target(name, profile, split)] = None
    return list(targets)


def _probe_own(run: RunFolder, target: Target, options: _Options) -> None:
    """Adds the missing probes of a run, like the `run` command."""
    config = run.config
    if options.views not in ("auto", config.executor):
        raise UserError(
            f"--views {options.views}: {run.path.name} uses the augmentation backend {config.executor}; omit the option"
        )
    options.warn_of_changed_data(run, target)
    missing = run.missing(options.probes[target.dataset])
    if not missing:
        log.info("%s has records of all these probes", run.path)
        return
    lacking = BACKENDS[config.executor].missing_dependency(options.device)
    if lacking:
        raise UserError(f"{run.path.name} uses the augmentation backend {config.executor}: {lacking}")
    with run.lock() as run:
        split = options.split(target)
        run.begin(split.passport)
        training = prepare(config, split.pretrain_images, options.device)
        run.load_weights(training.method)
        probe_run(run, training, split, missing)
        run.finish()


def _probe_pretrained(
    load: Callable[[Benchmark], PretrainedBackbone], target: Target, options: _Options, out: Path
) -> ProbeFolder:
    """Probes a pretrained backbone on one split; existing records are kept.

    Args:
        load: `from_file`, `from_module` or `from_run`.
        target: the split.
        options: probes, device and data.
        out: folder of runs and tables.

    Raises:
        UserError: the weights do not fit the backbone, it does not support the image size, or the folder has records of other
            data.
    """
    benchmark = options.data.benchmark(target.dataset)
    executor, _ = choose_backend(options.views, in_files=benchmark.in_files, device=options.device)
    pretrained = load(benchmark)
    folder = _probe_folder(pretrained, target, executor, out)
    options.warn_of_changed_data(folder, target)
    missing = folder.missing(options.probes[target.dataset])
    if not missing:
        log.info("%s has records of all these probes", folder.path)
        return folder
    split = options.split(target)
    folder.create()
    with folder.lock() as folder:
        folder.begin(split.passport)
        metadata = data_metadata(split.passport, split.benchmark.groups) | dict(pretrained.metadata)
        backend = BACKENDS[executor]([], options.device)
        probe_backbone(
            pretrained.backbone.to(options.device).to(memory_format=torch.channels_last),
            Corpus(split.pretrain_images, backend, pretrained.evaluation, None, metadata["precision"]),
            split,
            missing,
            folder,
            {**metadata, "run_id": folder.run_id, "executor": executor, "versions": versions()},
            label=f"{pretrained.label}, probed on {target.dataset} split {target.split}",
        )
    return folder


def _probe_folder(pretrained: PretrainedBackbone, target: Target, executor: str, out: Path) -> ProbeFolder:
    """Returns the folder under `out`, which may not exist yet. Its id depends on the content of a file, not on its name."""
    metadata = pretrained.metadata
    config = {
        "format": FORMAT,
        "weights": pretrained.weights,
        **vars(target),
        "seed": metadata["seed"],
        "precision": metadata["precision"],
        "executor": executor,
    }
    run_id = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]
    name = f"{target.dataset}-{metadata['method']}-split{target.split}-seed{metadata['seed']}-{run_id}"
    return ProbeFolder(out / name, {"label": pretrained.label, **config}, run_id)
