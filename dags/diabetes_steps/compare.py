"""Register the model if it beats guessing the average."""

import argparse
import json
import os
import shutil

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--scores")
parser.add_argument("--metric", choices=["rmse", "mae", "r2"])
args = parser.parse_args()

run = Run.get_context()
with open(os.path.join(args.scores, "scores.json")) as file:
    scores = json.load(file)
model, baseline = scores["model"][args.metric], scores["baseline"][args.metric]

better = model > baseline if args.metric == "r2" else model < baseline
run.log("improvement", abs(model - baseline))
run.parent.tag("better_than_baseline", str(better))
print(f"{args.metric}: {model:.4g}, guessing the average: {baseline:.4g}")

if better:
    shutil.copytree(args.model, "outputs/model")
    registered = run.register_model(
        "diabetes", model_path="outputs/model", tags={args.metric: f"{model:.4g}"}
    )
    print(f"registered as diabetes, version {registered.version}")
