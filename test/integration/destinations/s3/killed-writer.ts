import { destination } from '../../../../connectors/destinations/s3/destination.ts';
import { armFailpoints } from '../../../../core/run/failpoints.ts';
import { topicOfIds } from './memory-topic.ts';
import { buffersOf } from '../../../support/buffers.ts';

/** A program that delivers 40 records in two files and is killed on the way by a failpoint. */

const [config, connectionId, scratchFolder, failpoints] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
];
armFailpoints({ failpoints, failpointsAllowed: true });
const topic = topicOfIds(60);
const writer = await destination.open({
  connectionId,
  config: JSON.parse(config) as Record<string, unknown>,
  schemas: topic,
  scratchFolder,
  buffers: buffersOf(1024 * 1024),
  signal: new AbortController().signal,
});
await writer.open(topic.target);
for (const first of [0, 20]) {
  await writer.write([topic.batch(first, first + 20)]);
  await writer.flush();
}
