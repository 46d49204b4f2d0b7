import { constants, gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import snappy from 'snappy';

export const CODECS = ['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'ZSTD'] as const;
export type Codec = (typeof CODECS)[number];

/** Compression per codec; UNCOMPRESSED has none. */
export const COMPRESSORS: Partial<Record<Codec, (input: Uint8Array) => Uint8Array>> = {
  SNAPPY: (input) =>
    // Without the copy the engine does not know how large the output is and lets hundreds of
    // megabytes of it wait to be collected (invariant 9).
    snappy.compressSync(Buffer.from(input.buffer, input.byteOffset, input.length), {
      copyOutputData: true,
    }),
  GZIP: (input) => gzipSync(input),
  ZSTD: (input) => zstdCompressSync(input, { params: { [constants.ZSTD_c_compressionLevel]: 3 } }),
};

/** The reverse of COMPRESSORS. */
export const DECOMPRESSORS: Partial<Record<Codec, (input: Uint8Array) => Uint8Array>> = {
  SNAPPY: (input) =>
    snappy.uncompressSync(Buffer.from(input.buffer, input.byteOffset, input.length), {
      asBuffer: true,
      copyOutputData: true,
    }) as Buffer,
  GZIP: (input) => gunzipSync(input),
  ZSTD: (input) => zstdDecompressSync(input),
};
