from traces import leave_traces

leave_traces()
