import { rmSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { FromEncoder, ToEncoder } from './encoder-messages.ts';
import { spoolError } from './errors.ts';
import { FieldSearch } from './field-search.ts';
import { FileJoin, type JoinSpec } from './file-join.ts';
import { KeyedSpool } from './keyed-spool.ts';
import { SpoolBuilder } from './spool-builder.ts';

/** Entry of the thread that decodes and encodes, so that the event loop which answers Kafka's
 * heartbeats never waits for a row group. */

const schemas = new Map<number, ChangeSchema>();
const spools = new Map<number, SpoolBuilder>();
const keyedSpools = new Map<number, KeyedSpool>();

function handle(message: ToEncoder): void {
  switch (message.type) {
    case 'schema':
      schemas.set(message.schema.id, message.schema);
      return;
    case 'open':
      spools.set(message.spec.id, new SpoolBuilder(message.spec, schemas));
      return;
    case 'widen':
      answer({
        type: 'widened',
        spool: message.spool,
        done: spools.get(message.widened)?.widen(message.columns) ?? false,
      });
      return;
    case 'join':
      void join(message.spool, message.join);
      return;
    case 'find':
      find(message);
      return;
    case 'open-keyed':
      keyedSpools.set(message.spec.id, new KeyedSpool(message.spec, schemas));
      return;
    case 'discard':
      discard(message.spool);
      return;
    case 'seal-keyed':
    case 'merge':
      void answerFor(message);
      return;
    case 'records':
    case 'seal':
      build(message);
  }
}

/** A merge lets records in between its row groups, so that other partitions go on. */
async function answerFor(message: Extract<ToEncoder, { type: 'seal-keyed' | 'merge' }>) {
  const { spool: id } = message;
  const spool = keyedSpools.get(id);
  if (spool === undefined) return; // discarded meanwhile
  try {
    if (message.type === 'seal-keyed') {
      answer({ type: 'sealed-keyed', spool: id, content: spool.seal() });
    } else {
      answer({ type: 'merged', spool: id, merged: await spool.merge(message.merge) });
    }
  } catch (error) {
    fail(id, error);
  }
}

function fail(id: number, error: unknown): void {
  const { code, message: text, details } = spoolError(error);
  answer({ type: 'failed', spool: id, code, message: text, details });
  discard(id);
}

async function join(spool: number, spec: JoinSpec): Promise<void> {
  try {
    answer({ type: 'joined', spool, joined: await new FileJoin(spec).run() });
  } catch (error) {
    fail(spool, error);
  }
}

function find({ spool, chunk, columns }: Extract<ToEncoder, { type: 'find' }>): void {
  try {
    const search = new FieldSearch(columns, schemas);
    search.chunk(chunk);
    const { found: fields } = search;
    const back: FromEncoder = { type: 'found', spool, search: { chunk, fields } };
    parentPort?.postMessage(back, [chunk.bytes, chunk.ends.buffer, chunk.offsets.buffer]);
  } catch (error) {
    fail(spool, error);
  }
}

function build(message: Extract<ToEncoder, { type: 'records' | 'seal' }>): void {
  const { spool: id } = message;
  const spool = spools.get(id);
  const keyed = keyedSpools.get(id);
  const chunkBytes = message.type === 'records' ? message.chunk.bytes.byteLength : 0;
  try {
    if (message.type === 'records') (spool ?? keyed)?.add(message.chunk);
    else if (spool !== undefined) {
      answer({ type: 'sealed', spool: id, files: spool.finish() });
      spools.delete(id);
    }
  } catch (error) {
    fail(id, error);
  }
  if (message.type !== 'records') return;
  // Answered for every chunk, failed or not: it is what makes room for the next one.
  answer({
    type: 'taken',
    spool: id,
    chunkBytes,
    encodedBytes: spool?.encodedBytes ?? keyed?.bytes ?? 0,
    pendingBytes: spool?.pendingBytes ?? 0,
    files: spool?.fileCount ?? 0,
  });
}

function discard(id: number): void {
  for (const path of spools.get(id)?.paths ?? []) rmSync(path, { force: true });
  spools.delete(id);
  keyedSpools.get(id)?.discard();
  keyedSpools.delete(id);
}

function answer(message: FromEncoder): void {
  parentPort?.postMessage(message);
}

parentPort?.on('message', handle);
