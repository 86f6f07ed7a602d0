"""Ends a run whose TransferQueue is gone, as when its machine is: verl asks it without a time limit, for ever.

Ray chooses the machine of TransferQueue's controller: it may be one that holds no worker of verl's, whose loss nothing
else of a run would notice.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

EVERY_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 30.0  # verl itself tells more of what happened, where it notices

logger = logging.getLogger(__name__)


def end_without_queue() -> None:
    """Watch TransferQueue's controller from a thread, and end this process soon after it has died."""
    import ray

    try:  # by name: the process's own handle is a private name of TransferQueue's
        controller = ray.get_actor("TransferQueueController", namespace="transfer_queue")
    except ValueError as error:
        logger.warning("no watch over TransferQueue: a run that loses it would wait without end (%s)", error)
        return
    threading.Thread(target=watch, args=(controller, os._exit), name="leanthink-queue", daemon=True).start()


def watch(
    controller: Any, end: Callable[[int], Any], every: float = EVERY_SECONDS, grace: float = GRACE_SECONDS
) -> None:
    """Wait until an actor of Ray's has died of something else than `ray.kill`, say so, and end the process.

    Args:
        controller: the actor's handle.
        end: ends the process, with an exit status.
        every: seconds between two questions; one that is not answered in that time is asked again.
        grace: seconds from the actor's end to that of the process.
    """
    import ray
    from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError

    while True:
        try:
            ray.get(controller.__ray_ready__.remote(), timeout=every)
        except (GetTimeoutError, ActorUnavailableError):
            pass  # busy, or out of reach for a while
        except RayActorError as error:
            if "ray.kill" in str(error):  # verl closes the queue so when a run is over
                return
            time.sleep(grace)
            logger.error(
                "TransferQueue's controller died, and with it all that verl was about to train on (%s). verl would "
                "wait for it without end, so leanthink ends the run; the same command goes on from the last "
                "checkpoint.",
                " ".join(str(error).split()),
            )
            end(1)
            return
        time.sleep(every)
