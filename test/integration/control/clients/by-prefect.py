"""prefect-airbyte, the real package: a flow that syncs by the task, one by the block, one that fails."""

import asyncio
import json
import sys

from prefect import flow
from prefect_airbyte.connections import AirbyteConnection, trigger_sync
from prefect_airbyte.exceptions import AirbyteConnectionInactiveException
from prefect_airbyte.server import AirbyteServer

url, token, connection, resting = sys.argv[1:5]
host, port = url.removeprefix("http://").split(":")
server = AirbyteServer(server_host=host, server_port=int(port), username="airbyte", password=token)


@flow
async def by_task(of):
    return await trigger_sync(connection_id=of, airbyte_server=server, poll_interval_s=1)


@flow
async def by_block():
    block = AirbyteConnection(airbyte_server=server, connection_id=connection, poll_interval_s=1)
    run = await block.trigger()
    await run.wait_for_completion()
    return await run.fetch_result()


async def main():
    task = await by_task(connection)
    block = await by_block()
    refused = None
    try:
        await by_task(resting)
    except AirbyteConnectionInactiveException:
        refused = "inactive"
    return {
        "task": [task["status"], task["job_status"]],
        "block": block.job_status,
        "resting": refused,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
