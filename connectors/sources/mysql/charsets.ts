import { isUtf8 } from 'node:buffer';
import { byteRun } from '../../../schemas/avro/byte-run.ts';
import type { CellEncoder } from '../../capture/row-codec.ts';
import { badValue } from './errors.ts';
import type { SideSession } from './session.ts';

/** Text in a column's own character set, as the log carries it, becomes UTF-8. */
export interface Charset {
  readonly name: string;
  readonly encode: CellEncoder;
  decode(bytes: Buffer): string;
}

const UTF8 = new Set(['utf8', 'utf8mb3', 'utf8mb4', 'ascii']);
/** Multi-byte sets by the name that the runtime knows them by; single-byte ones the server spells out. */
const MULTI_BYTE: Readonly<Record<string, string>> = {
  ucs2: 'utf-16be',
  utf16: 'utf-16be',
  utf16le: 'utf-16le',
  gbk: 'gbk',
  gb2312: 'gbk',
  gb18030: 'gb18030',
  big5: 'big5',
  sjis: 'shift_jis',
  cp932: 'shift_jis',
  ujis: 'euc-jp',
  eucjpms: 'euc-jp',
  euckr: 'euc-kr',
};

const encodeUtf8: CellEncoder = (out, src, start, end) => {
  out.writeBytes(src, start, end);
};

export const binaryCharset: Charset = {
  name: 'binary',
  encode: encodeUtf8,
  decode: (bytes) => bytes.toString('latin1'),
};

function ofDecoder(name: string, decode: (bytes: Buffer) => string): Charset {
  return {
    name,
    decode,
    encode: (out, src, start, end) => out.writeString(decode(src.subarray(start, end))),
  };
}

function decodeUtf32(bytes: Buffer): string {
  let text = '';
  for (let i = 0; i + 4 <= bytes.length; i += 4)
    text += String.fromCodePoint(bytes.readUInt32BE(i));
  return text;
}

/** Most cells: a look at each byte costs less than a call into the engine. */
function isShortAscii(src: Buffer, start: number, end: number): boolean {
  if (end - start > 64) return false;
  for (let i = start; i < end; i++) if ((src[i] as number) > 0x7f) return false;
  return true;
}

/** The server's character sets, by the collation ids that the log names them with. */
export class Charsets {
  private readonly sql: SideSession;
  private readonly ready = new Map<string, Charset>();
  private names: Map<number, { name: string; bytes: number }> | null = null;

  constructor(sql: SideSession) {
    this.sql = sql;
  }

  /** Null for one that we cannot read exactly. */
  async ofCollation(id: number): Promise<Charset | null> {
    this.names ??= await this.load();
    return this.prepared(this.names.get(id));
  }

  /** Null for one that we cannot read exactly. */
  async named(name: string): Promise<Charset | null> {
    this.names ??= await this.load();
    return this.prepared([...this.names.values()].find((each) => each.name === name));
  }

  private async prepared(
    found: { name: string; bytes: number } | undefined,
  ): Promise<Charset | null> {
    if (found === undefined) return null;
    const known = this.ready.get(found.name);
    if (known !== undefined) return known;
    const charset = await this.make(found.name, found.bytes);
    if (charset !== null) this.ready.set(found.name, charset);
    return charset;
  }

  private async load(): Promise<Map<number, { name: string; bytes: number }>> {
    const sets = await this.sql.query(
      `SELECT CHARACTER_SET_NAME AS name, MAXLEN AS bytes FROM information_schema.CHARACTER_SETS`,
    );
    const widths = new Map(sets.map((row) => [row['name'], Number(row['bytes'])]));
    const rows = await this.sql.query(
      `SELECT CHARACTER_SET_NAME AS name, ID AS id
       FROM information_schema.${await this.collationView()} WHERE ID IS NOT NULL`,
    );
    return new Map(
      rows.map((row) => {
        const name = String(row['name']);
        return [Number(row['id']), { name, bytes: widths.get(name) ?? 4 }];
      }),
    );
  }

  /** On newer MariaDBs one collation serves several character sets, under an id for each. */
  private async collationView(): Promise<string> {
    const columns = await this.sql.query(
      `SELECT COLUMN_NAME AS name FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema'
       AND TABLE_NAME = 'COLLATION_CHARACTER_SET_APPLICABILITY' AND COLUMN_NAME = 'ID'`,
    );
    return columns.length > 0 ? 'COLLATION_CHARACTER_SET_APPLICABILITY' : 'COLLATIONS';
  }

  private async make(name: string, bytes: number): Promise<Charset | null> {
    if (name === 'binary') return binaryCharset;
    if (UTF8.has(name)) {
      return {
        name,
        decode: (text) => text.toString('utf8'),
        encode: (out, src, start, end) => {
          if (isShortAscii(src, start, end)) return out.writeBytes(src, start, end);
          // One view of the cell for the look at it and for the copy.
          const cell = byteRun(src, start, end);
          if (!isUtf8(cell)) throw badValue('text in UTF-8');
          out.writeAll(cell);
        },
      };
    }
    if (name === 'utf32') return ofDecoder(name, decodeUtf32);
    if (bytes === 1) return ofDecoder(name, await this.singleByte(name));
    const label = MULTI_BYTE[name];
    if (label === undefined) return null;
    const decoder = new TextDecoder(label, { fatal: true, ignoreBOM: true });
    return ofDecoder(name, (text) => {
      try {
        return decoder.decode(text);
      } catch {
        throw badValue(`text in ${name}`);
      }
    });
  }

  private async singleByte(name: string): Promise<(bytes: Buffer) => string> {
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('hex');
    const [row] = await this.sql.query(
      `SELECT HEX(CONVERT(_${name} X'${all}' USING utf32)) AS points`,
    );
    const points = Buffer.from(String(row?.['points']), 'hex');
    const table = Array.from({ length: 256 }, (_, byte) => {
      const point = points.readUInt32BE(byte * 4);
      return point === 0x3f && byte !== 0x3f ? null : String.fromCodePoint(point);
    });
    return (bytes) => {
      let text = '';
      for (const byte of bytes) {
        const letter = table[byte];
        if (letter === null || letter === undefined) throw badValue(`text in ${name}`);
        text += letter;
      }
      return text;
    };
  }
}
