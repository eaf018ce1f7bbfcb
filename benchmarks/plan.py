"""Planning a pipeline whose results are all there: the action key of each step and the look at its result.

The steps are a chain bound by data, so each key needs the result of the step before, and every output is checked by content. All
steps share one source directory with a script for each of them, as pipelines usually do. The look-up resolves the inputs of a
step, makes the key, finds the result and checks its outputs by content; the plan also renders templates and finds out which
files of the directory each step uses. What both are compared with is the floor: reading head and entry of every result.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from string import Template

from benchmarks.measure import REPEATS, Row, fresh_python, print_table

STEPS = 100
LIMIT_S = 0.1
_PROGRAM = str(Path(__file__).with_name("plan_once.py"))
_DAG_FILE = Template("""
import sys
from airflow_azureml import Environment, Pipeline, PipelineData, PipelineParameter
from airflow_azureml.operators import PythonScriptStep

here = Environment("here")
here.python.user_managed_dependencies = True
here.python.interpreter_path = sys.executable
alpha = PipelineParameter("alpha", default_value=0.5)
with Pipeline("planned", default_source_directory="scripts", default_args={"environment": here}):
    previous = None
    for number in range($steps):
        written = PipelineData(f"data_{number}")
        inputs = [previous] if previous else []
        PythonScriptStep(
            name=f"step_{number}",
            script_name=f"step_{number}.py",
            arguments=["--out", written, *inputs, "--alpha", alpha],
            inputs=inputs,
            outputs=[written],
        )
        previous = written
""")
_SCRIPT = Template("""
import os
import sys

import shared

out = sys.argv[sys.argv.index("--out") + 1]
os.makedirs(out)
with open(os.path.join(out, "part.txt"), "w") as file:
    file.write("$number")
""")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="plan-") as name:
        found = measure(Path(name))
    floor = found["reading"]
    rows = [
        Row(f"action key and look-up, {STEPS} steps", found["look"], floor, limit_s=LIMIT_S),
        Row("the whole plan: also templates, sources", found["plan"], floor),
        Row("the same, first in a process", found["first plan"], floor),
    ]
    print_table(f"Planning a pipeline of {STEPS} steps that are all reused", "reads only", rows)


def measure(home: Path) -> dict[str, list[float]]:
    """Run the pipeline once, plan it again and again; return the times."""
    scripts = home / "dags" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "shared.py").write_text("x = 1\n" * 200)
    for number in range(STEPS):
        (scripts / f"step_{number}.py").write_text(_SCRIPT.substitute(number=number))
    file = home / "dags" / "planned.py"
    file.write_text(_DAG_FILE.substitute(steps=STEPS))
    variables = {"AIRFLOW_HOME": str(home / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    fresh_python(_PROGRAM, "run", str(file), cwd=home, variables=variables)
    found: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        printed = fresh_python(_PROGRAM, "plan", str(file), cwd=home, variables=variables)
        times = json.loads(printed.splitlines()[-1])
        if times.pop("reused") != STEPS:
            sys.exit(f"not all steps would be reused: {printed}")
        for what, taken in times.items():
            found.setdefault(what, []).extend(taken)
    return found


if __name__ == "__main__":
    main()
