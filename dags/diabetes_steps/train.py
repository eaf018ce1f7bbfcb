"""Fit a ridge regression."""

import argparse
import os

import joblib
import pandas as pd
from azureml.core import Run
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--data")
parser.add_argument("--out")
parser.add_argument("--alpha", type=float)
parser.add_argument("--standardize", type=lambda text: text == "True")
args = parser.parse_args()

run = Run.get_context()
train = pd.read_csv(os.path.join(args.data, "train.csv"))
features, target = train.drop(columns="progression"), train["progression"]

model = make_pipeline(StandardScaler() if args.standardize else "passthrough", Ridge(alpha=args.alpha))
model.fit(features, target)

os.makedirs(args.out)
joblib.dump(model, os.path.join(args.out, "model.joblib"))

run.log("alpha", args.alpha)
run.log("train_r2", model.score(features, target))
