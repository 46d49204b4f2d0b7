import { isUtf8 } from 'node:buffer';
import type { CellEncoder } from '../../capture/row-codec.ts';
import type { ColumnKind, ColumnType } from '../../../schemas/values/column-type.ts';
import {
  badValue,
  encodeBoolean,
  encodeBytea,
  encodeDouble,
  encodeFloat,
  encodeInteger,
  encodeMoney,
  encodeText,
} from './encode-numbers.ts';
import { encodeDate, encodeTime, encodeTimestamp, encodeTimestamptz } from './encode-times.ts';
import type { SideSession } from './session.ts';

/** A column's canonical type and how its text becomes Avro. */
export interface EncodedType {
  readonly type: ColumnType;
  readonly encode: CellEncoder;
}

const MONEY = 790;
const NUMERIC = 1700;

/** Built-in types by OID. Those of extensions have other OIDs in every database, and are text. */
const KIND_BY_OID: Readonly<Record<number, ColumnKind>> = {
  16: 'boolean',
  17: 'bytes',
  20: 'int64',
  21: 'int16',
  23: 'int32',
  26: 'int64',
  114: 'json',
  142: 'xml',
  700: 'float32',
  701: 'float64',
  [MONEY]: 'decimal',
  1082: 'date',
  1083: 'time',
  1114: 'timestamp',
  1184: 'timestamptz',
  1186: 'interval',
  1266: 'timetz',
  1560: 'bits',
  1562: 'bits',
  [NUMERIC]: 'decimal',
  2950: 'uuid',
  3802: 'json',
};

const ENCODER_BY_KIND: Partial<Record<ColumnKind, CellEncoder>> = {
  boolean: encodeBoolean,
  int16: encodeInteger,
  int32: encodeInteger,
  int64: encodeInteger,
  float32: encodeFloat,
  float64: encodeDouble,
  bytes: encodeBytea,
  date: encodeDate,
  time: encodeTime,
  timestamp: encodeTimestamp,
  timestamptz: encodeTimestamptz,
};

/** A SQL_ASCII database hands out whatever bytes it was given. */
const encodeCheckedText: CellEncoder = (out, src, start, end) => {
  if (!isUtf8(src.subarray(start, end))) throw badValue('text in UTF-8');
  out.writeBytes(src, start, end);
};

interface TypeRow {
  readonly typtype: string;
  readonly typbasetype: number;
  readonly typtypmod: number;
  readonly isArray: boolean;
}

/** Types below are the server's own. */
export const FIRST_USER_OID = 16_384;

function nativeKey({ oid, mod }: { readonly oid: number; readonly mod: number }): string {
  return `${oid}/${mod}`;
}

/** What is known of the server's types, asked once per OID. */
export class TypeRegistry {
  private readonly sql: SideSession;
  private readonly rows = new Map<number, TypeRow>();
  private readonly natives = new Map<string, string>();
  private checksText: boolean | null = null;

  constructor(sql: SideSession) {
    this.sql = sql;
  }

  /** Resolves columns given as type OID and modifier, domains down to their base. */
  async resolve(
    columns: readonly { readonly type: number; readonly mod: number }[],
  ): Promise<EncodedType[]> {
    const bases = [];
    for (const column of columns) bases.push(await this.base(column.type, column.mod));
    await this.learnNatives(bases);
    this.checksText ??=
      (await this.sql.query('SHOW server_encoding'))[0]?.['server_encoding'] === 'SQL_ASCII';
    return bases.map((base) => this.encoded(base, this.natives.get(nativeKey(base)) as string));
  }

  /** How the server spells the types. Its own never change their names; others are asked for anew. */
  private async learnNatives(bases: readonly { oid: number; mod: number }[]): Promise<void> {
    const unknown = bases.filter(
      (base) => base.oid >= FIRST_USER_OID || !this.natives.has(nativeKey(base)),
    );
    if (unknown.length === 0) return;
    const rows = await this.sql.query(
      `SELECT format_type(t, m) AS native
       FROM unnest($1::oid[], $2::int[]) WITH ORDINALITY AS u(t, m, i) ORDER BY i`,
      [unknown.map((base) => base.oid), unknown.map((base) => base.mod)],
    );
    for (const [index, base] of unknown.entries()) {
      this.natives.set(nativeKey(base), String(rows[index]?.['native']));
    }
  }

  private async base(
    oid: number,
    mod: number,
  ): Promise<{ oid: number; mod: number; row: TypeRow | undefined }> {
    const row = await this.row(oid);
    if (row?.typtype !== 'd') return { oid, mod, row };
    return this.base(row.typbasetype, mod === -1 ? row.typtypmod : mod);
  }

  private async row(oid: number): Promise<TypeRow | undefined> {
    const known = this.rows.get(oid);
    if (known !== undefined) return known;
    const [found] = await this.sql.query(
      `SELECT typtype, typbasetype, typtypmod, typoutput = 'array_out'::regproc AS is_array
       FROM pg_type WHERE oid = $1`,
      [oid],
    );
    if (found === undefined) return undefined;
    const row: TypeRow = {
      typtype: String(found['typtype']),
      typbasetype: Number(found['typbasetype']),
      typtypmod: Number(found['typtypmod']),
      isArray: found['is_array'] === 't',
    };
    this.rows.set(oid, row);
    return row;
  }

  private encoded(
    base: { oid: number; mod: number; row: TypeRow | undefined },
    native: string,
  ): EncodedType {
    const kind = kindOf(base.oid, base.row);
    const text = this.checksText === true ? encodeCheckedText : encodeText;
    return {
      type: { kind, ...limitsOf(base.oid, base.mod), native },
      encode: base.oid === MONEY ? encodeMoney : (ENCODER_BY_KIND[kind] ?? text),
    };
  }
}

function kindOf(oid: number, row: TypeRow | undefined): ColumnKind {
  const builtIn = KIND_BY_OID[oid];
  if (builtIn !== undefined) return builtIn;
  if (row?.typtype === 'e') return 'enum';
  return row?.isArray === true ? 'array' : 'string';
}

function limitsOf(oid: number, mod: number): { precision?: number; scale?: number } {
  if (oid === MONEY) return { precision: 19, scale: 2 };
  if (oid !== NUMERIC || mod < 4) return {};
  const packed = mod - 4;
  return { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 };
}
