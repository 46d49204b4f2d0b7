"""dagster-airbyte, the real package: a sync to its end by the older resource, a workspace by the newer one."""

import json
import sys

from dagster_airbyte import AirbyteResource, AirbyteWorkspace

url, token, workspace, connection = sys.argv[1:5]
host, port = url.removeprefix("http://").split(":")
seen = {}

older = AirbyteResource(
    host=host, port=port, username="airbyte", password=token, poll_interval=0.2
)
output = older.sync_and_poll(connection, poll_timeout=60)
seen["job"] = output.job_details["job"]["status"]
seen["attempts"] = len(output.job_details["attempts"])
seen["streams"] = [each["stream"]["name"] for each in output.connection_details["syncCatalog"]["streams"]]

newer = AirbyteWorkspace(
    rest_api_base_url=f"{url}/api/public/v1",
    configuration_api_base_url=f"{url}/api/v1",
    workspace_id=workspace,
    client_id="dagster",
    client_secret=token,
)
client = newer.get_client()
data = newer.fetch_airbyte_workspace_data()
seen["connections"] = [connection in data.connections_by_id]
seen["tables"] = sorted({props.stream_name for props in data.to_airbyte_connection_table_props_data()})
started = client.start_sync_job(connection)
seen["cancelled"] = client.cancel_job(started["jobId"])["status"]
print(json.dumps(seen))
