"""All benchmarks, or the named ones: ``python -m benchmarks [name …]``; a name that doesn't exist shows them all."""

from __future__ import annotations

import sys

from benchmarks import (
    delimited,
    hashing,
    imports,
    mount,
    parse,
    plan,
    reuse,
    reuse_peers,
    sql,
    step,
    transfer,
)
from benchmarks.measure import machine

BENCHMARKS = {
    "imports": imports.main,
    "parse": parse.main,
    "hashing": hashing.main,
    "delimited": delimited.main,
    "mount": mount.main,
    "plan": plan.main,
    "step": step.main,
    "reuse": reuse.main,
    "reuse_peers": reuse_peers.main,
    "sql": sql.main,
    "transfer": transfer.main,
}


def main(names: list[str]) -> int:
    """Run benchmarks; return the exit code."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    # The modules read their own arguments when they are run by themselves.
    del sys.argv[1:]
    print(machine())
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()
    print(machine())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
