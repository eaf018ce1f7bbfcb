"""Split the patients into those to learn from and those to test with."""

import argparse
import os

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--out")
parser.add_argument("--seed", type=int)
args = parser.parse_args()

run = Run.get_context()
patients = run.input_datasets["patients"].to_pandas_dataframe()
test = patients.sample(frac=0.25, random_state=args.seed)
train = patients.drop(test.index)

os.makedirs(args.out)
train.to_csv(os.path.join(args.out, "train.csv"), index=False)
test.to_csv(os.path.join(args.out, "test.csv"), index=False)

run.log("train_rows", len(train))
run.log("test_rows", len(test))
