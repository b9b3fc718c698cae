"""Stop signals between training steps."""

import signal

import pytest

from training.signals import STOP_SIGNALS, stop_requests


@pytest.mark.parametrize("first", STOP_SIGNALS)
@pytest.mark.parametrize("second", STOP_SIGNALS)
def test_each_signal_is_a_request_and_only_ctrl_c_interrupts_one(first, second):
    before = signal.getsignal(second)
    with stop_requests() as stop:
        assert not stop()
        signal.raise_signal(first)
        assert stop()
        if second == signal.SIGINT:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(second)
        else:
            signal.raise_signal(second)
    assert signal.getsignal(second) is before
