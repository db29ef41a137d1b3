-- Beside Airflow's own database: the pipelines' state, which survives a reset of Airflow.
CREATE DATABASE pipeline_state;
