# Airflow's official image with this package in it.
FROM apache/airflow:3.3.2-python3.12

COPY --chown=airflow:0 pyproject.toml README.md LICENSE constraints.txt /opt/airflow-pipeline-provider/
COPY --chown=airflow:0 airflow_pipeline_provider /opt/airflow-pipeline-provider/airflow_pipeline_provider
RUN pip install --no-cache-dir -c /opt/airflow-pipeline-provider/constraints.txt \
    "/opt/airflow-pipeline-provider[amazon,elasticsearch,postgres,snowflake]"
