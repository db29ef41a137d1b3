# The Snowflake stand-in, and the script that fills the servers: demo/ without Airflow.
FROM python:3.12.11-slim-bookworm

WORKDIR /demo
COPY constraints.txt .
RUN pip install --no-cache-dir -c constraints.txt \
    "fakesnow[server]" boto3 certifi cryptography pyjwt s3fs
COPY demo demo
RUN useradd --create-home demo && install -d -o demo /data
USER demo
ENV PYTHONUNBUFFERED=1
