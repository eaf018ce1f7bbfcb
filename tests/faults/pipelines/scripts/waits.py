"""Waits at the meeting place until it is stopped."""

import time

from traces import leave_traces

options = leave_traces()
(options.meeting / "waits").touch()
while True:
    time.sleep(3600)
