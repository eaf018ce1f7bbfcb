"""Log the quartiles of one column."""

import argparse

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--column")
args = parser.parse_args()

run = Run.get_context()
column = run.input_datasets["patients"].to_pandas_dataframe()[args.column]
quartiles = column.quantile([0.25, 0.5, 0.75]).tolist()

run.tag("column", args.column)
run.log_list("quartiles", quartiles)
print(args.column, *quartiles)
