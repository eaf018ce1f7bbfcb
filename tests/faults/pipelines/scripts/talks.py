"""Prints as many MiB of lines as asked for, and then fails."""

import sys

mib = int(sys.argv[1])
line = b"epoch 00017 step 000123 loss 0.12345678 accuracy 0.98765432 learning rate 0.00100000 eta 00:12:34\n"
block = line * ((1 << 20) // len(line))
for _ in range(mib):
    sys.stdout.buffer.write(block)
sys.stdout.flush()
raise RuntimeError("after all these words")
