"""apache-airflow-providers-airbyte, the real package: its operator and its sensor's hook, without a scheduler."""

import json
import sys

from airflow.providers.airbyte.hooks.airbyte import AirbyteHook
from airflow.providers.airbyte.operators.airbyte import AirbyteTriggerSyncOperator
from airflow.providers.airbyte.sensors.airbyte import AirbyteJobSensor

connection = sys.argv[1]
hook = AirbyteHook(timeout=30)

waiting = AirbyteTriggerSyncOperator(task_id="sync", connection_id=connection, wait_seconds=1)
first = waiting.execute(context={})

submitted = AirbyteTriggerSyncOperator(task_id="submit", connection_id=connection, asynchronous=True)
second = submitted.execute(context={})
hook.wait_for_job(second, wait_seconds=1)
sensed = AirbyteJobSensor(task_id="sense", airbyte_job_id=second).poke(context={})

third = hook.submit_sync_connection(connection).job_id
hook.cancel_job(third)
seen = {
    "health": hook.test_connection()[0],
    "operator": hook.get_job_status(first).value,
    "sensed": sensed,
    # A sync of a connection that has nothing to catch up may have ended before it was cancelled.
    "cancelled": hook.get_job_status(third).value,
}
print(json.dumps(seen))
