"""A training that is left when its time is over."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from ..session import train
from ..trainer import Trainer


def train_until(trainer: Trainer, until: float, show: Callable[[str], None]) -> str:
    """Train to the last step, or until `time.time()` passes `until`; returns why it ended."""

    def leave() -> None:
        trainer.stop_asked = True

    timer = threading.Timer(max(0.0, until - time.time()), leave) if until < math.inf else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        return train(trainer, show)
    finally:
        if timer is not None:
            timer.cancel()
