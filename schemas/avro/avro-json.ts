import avro from 'avsc';

/** Longs that are not safe integers become their exact text. */
const ExactLong = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => {
    const value = bytes.readBigInt64LE();
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  },
  toBuffer: (value: number | string) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  fromJSON: Number,
  toJSON: String,
  isValid: (value: unknown) => typeof value === 'number' || typeof value === 'string',
  compare: (a: number | string, b: number | string) => Number(BigInt(a) - BigInt(b)),
});

/** Decodes one Avro value into what JSON can hold, for people to read. */
export type AvroToJson = (bytes: Buffer) => unknown;

/** 64-bit integers that a JSON number cannot hold become their exact text, bytes become base64, NaN
 * and the infinities text. Throws when the bytes do not fit the schema (JSON text). */
export function avroToJson(schema: string): AvroToJson {
  const type = avro.Type.forSchema(JSON.parse(schema) as avro.Schema, {
    wrapUnions: 'never',
    // A hook, for avsc looks a registry up for bare names only, and a column's long has attributes.
    typeHook: (attributes) => {
      const type =
        typeof attributes === 'string' ? attributes : (attributes as { type?: unknown }).type;
      return type === 'long' ? ExactLong : undefined;
    },
  });
  return (bytes) => plain(type.fromBuffer(bytes));
}

/** Avro's values as JSON knows them. */
function plain(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('base64');
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]));
}
