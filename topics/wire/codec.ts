import { promisify } from 'node:util';
import { gunzip, gzip, zstdCompress, zstdDecompress } from 'node:zlib';
import { uncompress } from 'snappy';
import { PipelineError } from '../../core/errors/pipeline-error.ts';

/**
 * Compression of record batches. All of it runs on the thread pool: the event loop that answers
 * heartbeats does not stand still for a megabyte.
 */
export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
/** Those we write; the others are read only. */
export type WriteCodec = 'none' | 'gzip' | 'zstd';

const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];
/** A batch may not unfold to more than this: a few bytes could otherwise take all memory. */
const MAX_UNFOLDED_BYTES = 256 * 1024 * 1024;

export function codecOf(attributes: number): Codec | undefined {
  return CODECS[attributes & 7];
}

const COMPRESS = { gzip: promisify(gzip), zstd: promisify(zstdCompress) } as const;

export function compress(codec: 'gzip' | 'zstd', bytes: Buffer): Promise<Buffer> {
  return COMPRESS[codec](bytes);
}

const gunzipAsync = promisify(gunzip);
const unzstdAsync = promisify(zstdDecompress);

/** Rejects with EVT_UNDECODABLE when the bytes are not what their codec says. */
export async function decompress(codec: Codec | undefined, bytes: Buffer): Promise<Buffer> {
  try {
    switch (codec) {
      case 'none':
        return bytes;
      case 'gzip':
        return await gunzipAsync(bytes, { maxOutputLength: MAX_UNFOLDED_BYTES });
      case 'zstd':
        return await unzstdAsync(bytes, { maxOutputLength: MAX_UNFOLDED_BYTES });
      case 'snappy':
        return await unsnappy(bytes);
      case 'lz4':
      case undefined:
        throw new PipelineError(
          'EVT_UNDECODABLE',
          `record batches compressed with ${codec ?? 'an unknown codec'} are not read`,
        );
    }
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    throw new PipelineError('EVT_UNDECODABLE', `a batch cannot be decompressed (${codec})`, {
      cause: error,
    });
  }
}

/** Header of the framing that Java's snappy stream puts around blocks. */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

async function unsnappy(bytes: Buffer): Promise<Buffer> {
  if (!bytes.subarray(0, XERIAL.length).equals(XERIAL)) return unsnapped(bytes);
  const blocks: Buffer[] = [];
  for (let pos = XERIAL_HEADER_BYTES; pos < bytes.length;) {
    const end = pos + 4 + bytes.readUInt32BE(pos);
    blocks.push(await unsnapped(bytes.subarray(pos + 4, end)));
    pos = end;
  }
  return Buffer.concat(blocks);
}

async function unsnapped(block: Buffer): Promise<Buffer> {
  return (await uncompress(block, { asBuffer: true })) as Buffer;
}
