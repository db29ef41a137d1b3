#!/usr/bin/env bash
# Stops every service that runs from its default data directory; data and builds stay.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
EXECUTOR=CeleryExecutor "$here/airflow/stop.sh"
for name in airflow collector monitoring snowflake s3 elasticsearch redis postgres; do
  "$here/$name/stop.sh"
done
