import os
import sys

os.makedirs(sys.argv[1])
with open(os.path.join(sys.argv[1], "number.txt"), "w") as file:
    file.write(" ".join(sys.argv[2:]))
