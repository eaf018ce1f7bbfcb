"""What every script here does before its fate: leave something of every kind that a step can leave."""

import argparse
from pathlib import Path

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path)
parser.add_argument("--kept", type=Path)
parser.add_argument("--try", type=int, default=1, dest="number")
parser.add_argument("--meeting", type=Path)


def leave_traces() -> argparse.Namespace:
    """Write outputs, metrics, tags, artifacts, a model; return the script's arguments."""
    options = parser.parse_args()
    run = Run.get_context()
    Path("outputs/model.txt").write_text(f"model of {run.id}")
    if options.out:
        options.out.mkdir()
        (options.out / "data.txt").write_text("half of it")
    if options.kept:
        (options.kept / "kept.txt").write_text(f"kept of {run.id}")
    run.log("rows", 3)
    run.tag("said", "something")
    run.parent.log(f"rows of {run.name}", 3)
    run.upload_file("uploaded.txt", "outputs/model.txt")
    run.register_model(f"model_of_{run.experiment.name}_{run.name}", model_path="outputs/model.txt")
    print("the traces are left")
    return options
