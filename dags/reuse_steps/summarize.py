"""Log what the points say of pi, on the step's run and on the pipeline's."""

import argparse
import json

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--in", dest="source")
args = parser.parse_args()

with open(args.source) as file:
    counts = json.load(file)

pi = 4 * counts["inside"] / counts["points"]
run = Run.get_context()
run.log("pi", pi)
run.parent.log("pi", pi)
