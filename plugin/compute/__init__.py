"""How a step runs: its interpreter, its files, its process, its conversation with the run context, and its commit.

Nothing here needs Airflow; the operators hand everything in.
"""
