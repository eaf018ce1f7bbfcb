"""A v1 script: reads a named tabular input, logs, registers a model."""

import json
import os
import sys

import numpy
import pandas
from azureml.core import Model, Run

run = Run.get_context()
frame = run.input_datasets["harvest"].to_pandas_dataframe()
run.log("python", f"{sys.version_info.major}.{sys.version_info.minor}")
run.log_list("versions", [numpy.__version__, pandas.__version__])
run.log("rows", len(frame))
run.log("tons", frame["tons"].sum())
run.log_row("planted", **frame.set_index("field")["planted"].dt.strftime("%Y-%m-%d").to_dict())
run.log("mean", numpy.float64(frame["tons"].mean()))

os.makedirs("outputs", exist_ok=True)
with open("outputs/model.json", "w") as file:
    json.dump({"mean": frame["tons"].mean()}, file)
name = "harvest_" + run.parent.name
run.register_model(name, model_path="outputs/model.json", tags={"python": sys.version.split()[0]})
assert Model(run.experiment.workspace, name).version == 1
