import sys

from traces import leave_traces

if leave_traces().number == 1:
    print("the first try is lost")
    sys.exit(1)
