"""What can be seen of a running service from outside: its log, its metrics, its traces, and word to its supervisor.

`middleware` watches each request and tells the others. Nothing that a user asked for is written down, and no secret.
"""

from service.observe.logs import logging_to_stderr
from service.observe.metrics import Metrics, forget, shared_folder
from service.observe.middleware import Watched
from service.observe.pulse import Pulse
from service.observe.state import PROBLEM, state_of
from service.observe.supervisor import notify
from service.observe.tracing import Tracing

__all__ = [
    "PROBLEM",
    "Metrics",
    "Pulse",
    "Tracing",
    "Watched",
    "forget",
    "logging_to_stderr",
    "notify",
    "shared_folder",
    "state_of",
]
