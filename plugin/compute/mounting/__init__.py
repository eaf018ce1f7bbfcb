"""Files of a store as a read-only file system, whose bytes come when they are read.

The step's supervisor starts a small process that mounts and answers the kernel; see :mod:`.server`. That process holds no
credentials and asks the supervisor for what isn't in the block cache yet; see :mod:`.supervisor`.
"""
