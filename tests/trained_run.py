"""A folder like that of a trained run, without training: perturbed initial weights, batch norm statistics of digits."""

from pathlib import Path

import torch

from data.benchmark import BENCHMARKS
from data.split import Split
from run_store.folder import RunFolder, TrainingFacts, folder_of
from tests.runs import small_config
from training.prepare import build_method


def trained_run(out: Path, method: str = "simclr", **changes) -> RunFolder:
    """A trained run on digitslt without records; `changes` are arguments of `small_config`."""
    config = small_config(method, **changes)
    benchmark = BENCHMARKS[config.dataset]()
    split = Split.of(benchmark, benchmark.load(None), config.profile, config.split)
    images, lists = split.images, split.lists
    run = folder_of(out, config)
    run.create()
    run.begin(split.passport)
    made = build_method(config, len(lists.pretrain)).train()
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in made.parameters():
            tensor += 0.05 * torch.randn(tensor.shape, generator=stream)
        x = torch.from_numpy(images.train[lists.pretrain[:64]]) / 255.0
        made.backbone(x)
        if hasattr(made, "competitor"):
            made.competitor.prune(made.backbone, 0.9)
            made.competitor(made.backbone, x.flip(3))
    run.save_trained(made, TrainingFacts(1.0, 2 * len(lists.pretrain), None, "cpu"))
    return run
