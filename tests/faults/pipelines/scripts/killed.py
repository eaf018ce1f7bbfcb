import os
import signal

from traces import leave_traces

leave_traces()
os.kill(os.getpid(), signal.SIGKILL)
