"""The command group ``airflow azureml``."""
