"""Fails while a sibling runs."""

import sys
import time

from traces import leave_traces

options = leave_traces()
while not (options.meeting / "waits").exists():
    time.sleep(0.05)
sys.exit(1)
