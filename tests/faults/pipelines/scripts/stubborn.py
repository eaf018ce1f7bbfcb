import time
from pathlib import Path

from children import leave_children
from traces import leave_traces

options = leave_traces()
if options.number == 1:
    leave_children()
    Path("up").touch()
    while True:
        time.sleep(3600)
