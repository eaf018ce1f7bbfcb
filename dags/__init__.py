"""Example pipelines; copy one and change it. Airflow shows them with ``[core] load_examples``."""
