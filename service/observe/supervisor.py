"""Word to the service manager that started this process, by systemd's protocol (`man sd_notify`)."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Send a state, such as `READY=1`; whether there was someone to send it to."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
        try:
            messenger.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:  # the manager is gone; the service is not to fall for it
            return False
    return True
