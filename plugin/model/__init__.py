"""What a pipeline is, as plain values: data objects, parameters, environments, ports, definitions. No Airflow, no I/O."""
