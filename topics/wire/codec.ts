import { promisify } from 'node:util';
import { constants, gunzip, gzip, zstdCompress, zstdDecompress } from 'node:zlib';
import { compress as snap, uncompress } from 'snappy';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { foldLz4, unfoldLz4 } from './lz4.ts';

/**
 * Compression of record batches. It runs on the thread pool, so that the event loop that answers
 * heartbeats does not stand still for a megabyte; LZ4 alone does not, and takes some milliseconds.
 */
export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];
/** A batch may not unfold to more than this: a few bytes could otherwise take all memory. */
const MAX_UNFOLDED_BYTES = 256 * 1024 * 1024;

export function codecOf(attributes: number): Codec | undefined {
  return CODECS[attributes & 7];
}

const gzipAsync = promisify(gzip);
const zstdAsync = promisify(zstdCompress);
/** The default level of gzip and zstd costs twice the CPU of these for a few percent fewer bytes. */
const GZIP_FAST = { level: 1 };
const ZSTD_FAST = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

const COMPRESS: Record<Exclude<Codec, 'none'>, (bytes: Buffer) => Promise<Buffer>> = {
  gzip: (bytes) => gzipAsync(bytes, GZIP_FAST),
  snappy: snapped,
  lz4: async (bytes) => foldLz4(bytes),
  zstd: (bytes) => zstdAsync(bytes, ZSTD_FAST),
};

export function compress(codec: Exclude<Codec, 'none'>, bytes: Buffer): Promise<Buffer> {
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
        return unfoldLz4(bytes, MAX_UNFOLDED_BYTES);
      case undefined:
        throw new PipelineError('EVT_UNDECODABLE', 'a batch is compressed with an unknown codec');
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
const XERIAL_VERSIONS = Buffer.from([0, 0, 0, 1, 0, 0, 0, 1]);
/** Java reads a block into a buffer of this size. */
const SNAPPY_BLOCK_BYTES = 32 * 1024;

async function snapped(bytes: Buffer): Promise<Buffer> {
  const parts: Buffer[] = [XERIAL, XERIAL_VERSIONS];
  for (let start = 0; start < bytes.length; start += SNAPPY_BLOCK_BYTES) {
    const block = await snap(bytes.subarray(start, start + SNAPPY_BLOCK_BYTES));
    const size = Buffer.allocUnsafe(4);
    size.writeUInt32BE(block.length);
    parts.push(size, block);
  }
  return Buffer.concat(parts);
}

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
