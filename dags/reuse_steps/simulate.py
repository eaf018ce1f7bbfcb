"""Spread points over a square, and write down how many are in the circle."""

import argparse
import json

from circle import is_inside, points

parser = argparse.ArgumentParser()
parser.add_argument("--points", type=int)
parser.add_argument("--build")
parser.add_argument("--out")
args = parser.parse_args()

print(f"build {args.build}")
inside = sum(is_inside(x, y) for x, y in points(args.points))
with open(args.out, "w") as file:
    json.dump({"points": args.points, "inside": inside}, file)
