from traces import leave_traces


def harvest():
    raise ValueError("the harvest is spoiled")


leave_traces()
harvest()
