import { rmSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { FromEncoder, ToEncoder } from './encoder-messages.ts';
import { spoolError } from './errors.ts';
import { SpoolBuilder } from './spool-builder.ts';

/** Entry of the thread that decodes and encodes, so that the event loop which answers Kafka's
 * heartbeats never waits for a row group. */

const schemas = new Map<number, ChangeSchema>();
const spools = new Map<number, SpoolBuilder>();

function handle(message: ToEncoder): void {
  switch (message.type) {
    case 'schema':
      schemas.set(message.schema.id, message.schema);
      return;
    case 'open':
      spools.set(message.spec.id, new SpoolBuilder(message.spec, schemas));
      return;
    case 'discard':
      discard(message.spool);
      return;
    case 'records':
    case 'seal':
      build(message);
  }
}

function build(message: Extract<ToEncoder, { type: 'records' | 'seal' }>): void {
  const { spool: id } = message;
  const spool = spools.get(id);
  const chunkBytes = message.type === 'records' ? message.chunk.bytes.byteLength : 0;
  try {
    if (message.type === 'records') spool?.add(message.chunk);
    else if (spool !== undefined) {
      answer({ type: 'sealed', spool: id, files: spool.finish() });
      spools.delete(id);
    }
  } catch (error) {
    const { code, message: text, details } = spoolError(error);
    answer({ type: 'failed', spool: id, code, message: text, details });
    discard(id);
  }
  if (message.type !== 'records') return;
  // Answered for every chunk, failed or not: it is what makes room for the next one.
  answer({
    type: 'taken',
    spool: id,
    chunkBytes,
    encodedBytes: spool?.encodedBytes ?? 0,
    pendingBytes: spool?.pendingBytes ?? 0,
    files: spool?.fileCount ?? 0,
  });
}

function discard(id: number): void {
  for (const path of spools.get(id)?.paths ?? []) rmSync(path, { force: true });
  spools.delete(id);
}

function answer(message: FromEncoder): void {
  parentPort?.postMessage(message);
}

parentPort?.on('message', handle);
