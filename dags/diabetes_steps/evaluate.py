"""Predict the test patients, and measure and draw how far off the predictions are."""

import argparse
import json
import os

import joblib
import matplotlib
import pandas as pd
from azureml.core import Run
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

matplotlib.use("agg")
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser()
parser.add_argument("--data")
parser.add_argument("--model")
parser.add_argument("--out")
parser.add_argument("--predictions")
args = parser.parse_args()

run = Run.get_context()
test = pd.read_csv(os.path.join(args.data, "test.csv"))
model = joblib.load(os.path.join(args.model, "model.joblib"))
actual = test["progression"]
predicted = model.predict(test.drop(columns="progression"))


def measure(predictions):
    return {
        "rmse": root_mean_squared_error(actual, predictions),
        "mae": mean_absolute_error(actual, predictions),
        "r2": r2_score(actual, predictions),
    }


# What guessing the average of all patients would score.
scores = {"model": measure(predicted), "baseline": measure([actual.mean()] * len(actual))}
for name, value in scores["model"].items():
    run.log(name, value)
    run.parent.log(name, value)

os.makedirs(args.out)
with open(os.path.join(args.out, "scores.json"), "w") as file:
    json.dump(scores, file)

os.makedirs(args.predictions, exist_ok=True)
test.assign(predicted=predicted).to_csv(os.path.join(args.predictions, "predictions.csv"), index=False)

plt.scatter(actual, predicted)
plt.axline((150, 150), slope=1, color="grey")
plt.xlabel("progression after one year")
plt.ylabel("predicted")
run.log_image("predicted_against_actual", plot=plt)
