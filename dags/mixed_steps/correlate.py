"""Write how strongly every column is correlated with one of them."""

import argparse
import os

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--target")
parser.add_argument("--out")
args = parser.parse_args()

run = Run.get_context()
patients = run.input_datasets["patients"].to_pandas_dataframe()
correlations = patients.corr()[args.target].drop(args.target)

correlations.rename_axis("column").rename("correlation").to_csv(os.path.join(args.out, "correlations.csv"))
run.log_table("correlation", correlations.to_dict())
