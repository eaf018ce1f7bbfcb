from traces import leave_traces

options = leave_traces()
with (options.out / "large.bin").open("wb") as file:
    while True:
        file.write(bytes(1 << 20))
