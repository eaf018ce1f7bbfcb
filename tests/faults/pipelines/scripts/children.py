"""Processes that want to outlive the script."""

import os
import signal
import time


def leave_children():
    """Leave a child, a grandchild, one in a session of its own, and a daemon; all ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for depth, in_own_session in ((1, False), (2, False), (1, True), (2, True)):
        if os.fork() == 0:
            live_on(depth, in_own_session)


def live_on(depth, in_own_session):
    if in_own_session:
        os.setsid()
    if depth == 2 and os.fork() > 0:
        os._exit(0)
    while True:
        time.sleep(3600)
