import avsc from 'avsc';

/** A long of avsc's that is exact over all 64 bits (its own throws beyond 2^53). */
export const exactLong = avsc.types.LongType.__with({
  fromBuffer: (buf: Buffer) => buf.readBigInt64LE(),
  toBuffer: (n: bigint) => {
    const buf = Buffer.alloc(8);
    buf.writeBigInt64LE(n);
    return buf;
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (n: unknown) => typeof n === 'bigint',
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
});

/** avsc as the independent codec: every long is a bigint. */
export function avroOracle(schema: unknown): avsc.Type {
  return avsc.Type.forSchema(schema as avsc.Schema, {
    wrapUnions: 'never',
    typeHook: (attrs) => {
      const type = typeof attrs === 'string' ? attrs : (attrs as { type?: string }).type;
      return type === 'long' ? exactLong : undefined;
    },
  });
}
