"""Reuse of results: what a step's result depends on, where results are remembered, and why a step ran.

``action`` turns a step into its key, ``entries`` remembers results under keys, ``differences`` says what changed between two
actions, ``gate`` decides. Nothing here knows Airflow.
"""
