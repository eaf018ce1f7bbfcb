"""A sensor for a step of a pipeline in another file."""

from airflow.sdk import DAG, Param

from airflow_azureml.operators.reuse_sensor import StepReuseSensor

with DAG("senses", schedule=None, params={"meeting": Param("", type="string")}):
    StepReuseSensor(
        task_id="sense",
        step="step",
        pipeline="meets_worker",
        pipeline_parameters={"meeting": "{{ params.meeting }}"},
        deferrable=True,
        poke_interval=1,
        timeout=300,
    )
