"""Is there when its sibling fails, and goes on."""

from traces import leave_traces

options = leave_traces()
(options.meeting / "waits").touch()
