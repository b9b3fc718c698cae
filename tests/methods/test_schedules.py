import numpy as np
import pytest
import torch

import bench
from core.errors import UserError
from core.settings import with_changes
from data.loader import Batch
from methods import METHODS
from methods.losses import nt_xent
from methods.schedules import Cosine, Duration, due, temperature_at
from tests.runs import small_config
from training.config import default_hparams
from training.prepare import build_method


def test_the_swing_is_the_references(golden):
    schedule = Cosine("cosine:0.1:1.0:400")
    found = [schedule.at(int(epoch) - 1, run=2000) for epoch in golden["ts_epoch"]]  # the golden ones count from 1
    assert np.abs(found - golden["ts_tau"]).max() < 1e-12
    assert [schedule.at(epoch - 1, 2000) for epoch in (0, 200, 400)] == pytest.approx([1.0, 0.1, 1.0])


def test_a_period_may_be_a_share_of_the_run():
    ts = METHODS["ts"].Hparams().temperature
    for epoch in range(60):
        assert temperature_at(ts, epoch, run=60) == pytest.approx(Cosine("cosine:0.1:1.0:12").at(epoch, run=60))
    assert temperature_at(ts, 5, 60) == pytest.approx(0.1)
    assert temperature_at(0.3, 5, 60) == 0.3


def test_ts_swings_as_in_the_released_runs():
    for dataset, run in (("cifar10lt", 2000), ("imagenet100lt", 800)):  # 5 and 2 full periods of 400
        hparams = METHODS["ts"].Hparams()
        hparams = with_changes(hparams, METHODS["ts"].overrides.get(dataset, {}), "ts")
        assert Cosine("cosine:0.1:1.0:400").at(123, run) == pytest.approx(hparams.temperature.at(123, run))
    assert isinstance(default_hparams("ts", "cifar10lt", "cpu").temperature, Cosine)


@pytest.mark.parametrize("name", ["simclr", "ts", "sdclr", "bcl", "bcl-d", "colt", "sdclr+colt", "bcl+colt"])
def test_every_contrastive_method_takes_the_schedule(name):
    config = small_config(name, epochs=8, hparams={"temperature": "cosine:0.1:0.9:50%"})
    method = build_method(config, 12).train()
    torch.manual_seed(0)
    views = torch.randn(8, 3, 16, 16), torch.randn(8, 3, 16, 16)
    method.extra_images = lambda epoch: 0  # COLT without the pool's images is its host
    for epoch, tau in ((1, 0.1), (3, 0.9), (4, 0.5)):
        loss = method.loss(Batch(views, torch.arange(8), epoch)).loss
        assert loss.item() == pytest.approx(nt_xent(*method.encode(views), tau).mean().item(), abs=1e-5)


@pytest.mark.parametrize(
    "text",
    ["warm", "cosine", "cosine:0.1:1.0", "cosine:0.1:1.0:0", "cosine:0.1:1.0:-5", "cosine:0.1:1.0:nan", "cosine:0:1.0:20%",
     "cosine:0.1:inf:20%", "cosine:0.1:1.0:20%%", "cosine:a:1.0:20%", "cosine:0.1:1.0:20%:3", "linear:0.1:1.0:20%", ""],
)  # fmt: skip
def test_an_invalid_temperature_is_reported_in_one_line(text):
    with pytest.raises(UserError) as told:
        with_changes(METHODS["sdclr"].Hparams(), {"temperature": text}, "sdclr")
    assert str(told.value) == f"sdclr.temperature={text} is not of the form float|cosine:LOW:HIGH:PERIOD"


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon", "%", "5%%", ""])
def test_an_invalid_duration_is_reported(text):
    with pytest.raises(UserError, match=rf"colt.interval={text} is not of type EPOCHS\|SHARE%"):
        with_changes(METHODS["colt"].Hparams(), {"interval": text}, "colt")


def test_the_command_line_takes_a_schedule(tmp_path, capsys, mistake):
    asked = ["plan", "--datasets", "digitslt", "--preset", "smoke", "--device", "cpu", "--methods", "sdclr"]
    asked += ["--out", str(tmp_path), "--set"]
    assert bench.main([*asked, "sdclr.temperature=cosine:0.1:1.0:20%"]) == 0
    swinging = capsys.readouterr().out
    assert "1 NEW" in swinging
    assert bench.main([*asked, "sdclr.temperature=0.2"]) == 0
    (one,), (other,) = ([x for x in out.splitlines() if "NEW  " in x] for out in (swinging, capsys.readouterr().out))
    assert one != other  # another temperature is another run
    told = mistake(*asked, "sdclr.temperature=cosine:0.1:1.0")
    assert "sdclr.temperature=cosine:0.1:1.0 is not of the form float|cosine:LOW:HIGH:PERIOD" in told


def test_durations_are_epochs_or_shares_of_the_run():
    assert Duration("25").epochs(2000) == 25
    assert Duration("1.25%").epochs(2000) == 25
    assert Duration("1.25%").epochs(60) == 0.75
    assert Duration("0").epochs(60) == 0


def test_due_is_the_references_rule():
    """At the start of 1-based epochs e with e - 1 >= w and (e - 1 - w) mod r = 0."""
    first, every = Duration("5%"), Duration("1.25%")  # COLT's 100 and 25 of 2000
    found = [epoch for epoch in range(2000) if due(epoch, 2000, first, every)]
    assert found == [e - 1 for e in range(1, 2001) if e - 1 >= 100 and (e - 1 - 100) % 25 == 0]
    assert [epoch for epoch in range(10) if due(epoch, 10, Duration("4"), Duration("3"))] == [4, 7]
    assert [epoch for epoch in range(4) if due(epoch, 4, Duration("0"), Duration("1%"))] == [0, 1, 2, 3]  # at least an epoch
    assert not any(due(epoch, 4, Duration("4"), Duration("1")) for epoch in range(4))
