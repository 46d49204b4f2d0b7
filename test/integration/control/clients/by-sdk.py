"""The calls of airbyte-api, Airbyte's own SDK, which checks every answer against its models."""

import json
import sys

import airbyte_api
from airbyte_api import api, models

url, token, workspace = sys.argv[1:4]
sdk = airbyte_api.AirbyteAPI(
    server_url=f"{url}/api/public/v1",
    security=models.Security(
        client_credentials=models.SchemeClientCredentials(client_id="me", client_secret=token)
    ),
)

seen = {}
seen["health"] = sdk.health.get_health_check().status_code
workspaces = sdk.workspaces.list_workspaces(request=api.ListWorkspacesRequest())
seen["workspaces"] = len(workspaces.workspaces_response.data)

source = sdk.sources.create_source(
    request=models.SourceCreateRequest(
        name="shop",
        workspace_id=workspace,
        configuration=models.SourcePostgres(
            host="127.0.0.1",
            port=1,
            database="shop",
            username="reader",
            password="canary-sdk",
            schemas=["public"],
            replication_method=models.ReadChangesUsingWriteAheadLogCDC(
                publication="headrace", replication_slot="headrace"
            ),
        ),
    )
).source_response
destination = sdk.destinations.create_destination(
    request=models.DestinationCreateRequest(
        name="warehouse",
        workspace_id=workspace,
        configuration=models.DestinationPostgres(
            host="127.0.0.1", port=1, database="w", username="writer", password="canary-sdk"
        ),
    )
).destination_response
seen["types"] = [source.source_type, destination.destination_type]

connection = sdk.connections.create_connection(
    request=models.ConnectionCreateRequest(
        name="by the SDK",
        source_id=source.source_id,
        destination_id=destination.destination_id,
        configurations=models.StreamConfigurations(
            streams=[
                models.StreamConfiguration(
                    name="orders",
                    namespace="public",
                    primary_key=[["id"]],
                    sync_mode=models.ConnectionSyncModeEnum.INCREMENTAL_DEDUPED_HISTORY,
                )
            ]
        ),
        schedule=models.AirbyteAPIConnectionSchedule(schedule_type=models.ScheduleTypeEnum.MANUAL),
        # The SDK's default holds the connection to columns that only a source that answers can tell.
        non_breaking_schema_updates_behavior=(
            models.NonBreakingSchemaUpdatesBehaviorEnum.PROPAGATE_COLUMNS
        ),
    )
).connection_response
seen["connection"] = [connection.name, connection.status.value, connection.schedule.schedule_type.value]
patched = sdk.connections.patch_connection(
    request=api.PatchConnectionRequest(
        connection_id=connection.connection_id,
        connection_patch_request=models.ConnectionPatchRequest(prefix="p_"),
    )
).connection_response
seen["prefix"] = patched.prefix

job = sdk.jobs.create_job(
    request=models.JobCreateRequest(
        connection_id=connection.connection_id, job_type=models.JobTypeEnum.SYNC
    )
).job_response
seen["job"] = job.status.value
read = sdk.jobs.get_job(request=api.GetJobRequest(job_id=job.job_id)).job_response
cancelled = sdk.jobs.cancel_job(request=api.CancelJobRequest(job_id=job.job_id)).job_response
seen["cancelled"] = [read.job_id == job.job_id, cancelled.status.value]
jobs = sdk.jobs.list_jobs(request=api.ListJobsRequest(connection_id=connection.connection_id))
seen["jobs"] = len(jobs.jobs_response.data)
sources = sdk.sources.list_sources(request=api.ListSourcesRequest(workspace_ids=[workspace]))
seen["sources"] = len(sources.sources_response.data)
destinations = sdk.destinations.list_destinations(request=api.ListDestinationsRequest())
seen["destinations"] = len(destinations.destinations_response.data)
connections = sdk.connections.list_connections(request=api.ListConnectionsRequest())
seen["connections"] = len(connections.connections_response.data)

sdk.connections.delete_connection(
    request=api.DeleteConnectionRequest(connection_id=connection.connection_id)
)
sdk.sources.delete_source(request=api.DeleteSourceRequest(source_id=source.source_id))
sdk.destinations.delete_destination(
    request=api.DeleteDestinationRequest(destination_id=destination.destination_id)
)
print(json.dumps(seen))
