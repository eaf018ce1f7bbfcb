"""The example pipeline in an Airflow of its own: ``python -m airflow_azureml.demo``."""
