import { createHash } from 'node:crypto';

/** A number as jsonb keeps it: plain decimal notation, trailing zeros kept, no digit lost. */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type JsonObject = ReadonlyMap<string, JsonValue>;
export type JsonValue = null | boolean | string | JsonNumber | JsonObject | readonly JsonValue[];

export function isObject(value: JsonValue): value is JsonObject {
  return value instanceof Map;
}

/** Reads JSON text without rounding a number; of a key that stands twice the last value counts, as
 * in jsonb. Throws SyntaxError, RangeError for what is nested too deep for anything. */
export function parseJson(text: string): JsonValue {
  const reader = new Reader(text);
  const value = reader.value();
  reader.end();
  return value;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const SPACE = /[ \t\n\r]*/y;

class Reader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  value(): JsonValue {
    this.space();
    switch (this.text[this.at]) {
      case '{':
        return this.object();
      case '[':
        return this.array();
      case '"':
        return this.string();
      case 't':
        return this.word('true', true);
      case 'f':
        return this.word('false', false);
      case 'n':
        return this.word('null', null);
      default:
        return this.number();
    }
  }

  end(): void {
    this.space();
    if (this.at !== this.text.length) throw malformed();
  }

  private space(): void {
    SPACE.lastIndex = this.at;
    SPACE.test(this.text);
    this.at = SPACE.lastIndex;
  }

  private word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) throw malformed();
    this.at += word.length;
    return value;
  }

  private number(): JsonNumber {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text)?.[0];
    if (found === undefined) throw malformed();
    this.at += found.length;
    return new JsonNumber(plainNumber(found));
  }

  private string(): string {
    const start = this.at++;
    for (let char = ''; (char = this.text[this.at] as string) !== '"'; this.at++) {
      if (char === undefined) throw malformed();
      if (char === '\\') this.at++;
    }
    this.at++;
    return JSON.parse(this.text.slice(start, this.at)) as string;
  }

  private array(): JsonValue[] {
    const items: JsonValue[] = [];
    this.at++;
    if (this.closes(']')) return items;
    do items.push(this.value());
    while (this.goesOn(']'));
    return items;
  }

  private object(): JsonObject {
    const members = new Map<string, JsonValue>();
    this.at++;
    if (this.closes('}')) return members;
    do {
      this.space();
      if (this.text[this.at] !== '"') throw malformed();
      const key = this.string();
      this.space();
      if (this.text[this.at++] !== ':') throw malformed();
      members.set(key, this.value());
    } while (this.goesOn('}'));
    return members;
  }

  private closes(bracket: string): boolean {
    this.space();
    if (this.text[this.at] !== bracket) return false;
    this.at++;
    return true;
  }

  private goesOn(bracket: string): boolean {
    if (this.closes(bracket)) return false;
    if (this.text[this.at++] !== ',') throw malformed();
    return true;
  }
}

function malformed(): SyntaxError {
  return new SyntaxError('a JSON text is malformed');
}

/** What numeric can hold before and behind the point. */
const MAX_EXPONENT = 150_000;

/** `1.50e1` as numeric prints it: `15.0`. Throws RangeError for what numeric cannot hold. */
export function plainNumber(text: string): string {
  const [, sign, whole, fraction = '', exponent] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  if (whole === undefined) throw malformed();
  const shift = Number(exponent ?? 0);
  if (Math.abs(shift) > MAX_EXPONENT) throw new RangeError('a number is out of range');
  let digits = whole + fraction;
  let point = whole.length + shift;
  if (point < 1) {
    digits = '0'.repeat(1 - point) + digits;
    point = 1;
  }
  if (point > digits.length) digits = digits.padEnd(point, '0');
  const integer = digits.slice(0, point).replace(/^0+(?=\d)/, '');
  const decimals = digits.slice(point);
  const plain = decimals === '' ? integer : `${integer}.${decimals}`;
  return sign === '-' && /[1-9]/.test(plain) ? `-${plain}` : plain;
}

/** The text that Postgres prints of a jsonb value: keys by length in bytes, then by bytes. */
export function jsonbText(value: JsonValue): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'boolean') return String(value);
  if (value instanceof JsonNumber) return value.text;
  if (isObject(value)) {
    const members = [...value].map(([key, member]) => ({ key, bytes: Buffer.from(key), member }));
    members.sort((a, b) => a.bytes.length - b.bytes.length || Buffer.compare(a.bytes, b.bytes));
    const texts = members.map(({ key, member }) => `${JSON.stringify(key)}: ${jsonbText(member)}`);
    return `{${texts.join(', ')}}`;
  }
  return `[${value.map(jsonbText).join(', ')}]`;
}

/** What `->>` answers: a text without its quotes; null is the empty text, as hash ids want it. */
export function textOf(value: JsonValue): string {
  if (value === null) return '';
  return typeof value === 'string' ? value : jsonbText(value);
}

/** Airbyte's hash id: md5 of the fields' texts with `-` between, null as the empty text. */
export function hashId(texts: readonly string[]): string {
  return createHash('md5').update(texts.join('-')).digest('hex');
}
