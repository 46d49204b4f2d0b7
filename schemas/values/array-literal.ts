import { textOf, type JsonValue } from '../normalize/json-value.ts';

/**
 * An array literal of the source (`{1,NULL,"a b"}`, `{{1,2},{3,4}}`, `[0:1]={5,6}`) as JSON text.
 * Elements of number types stay exact number tokens, booleans become JSON's, json elements are
 * embedded, all others are strings; lower bounds are not kept. A literal that cannot be read is
 * answered whole, as one JSON string.
 */
export function arrayAsJson(literal: string, native: string | undefined): string {
  const open = literal.indexOf('{');
  const prefix = literal.slice(0, Math.max(open, 0));
  if (open === -1 || (prefix !== '' && !/^(\[-?\d+:-?\d+\])+=$/.test(prefix))) {
    return JSON.stringify(literal);
  }
  const reader = new ArrayReader(literal, open, elementWriter(native));
  return reader.readAll() ?? JSON.stringify(literal);
}

type ElementWriter = (text: string) => string;

const NUMBER_TYPES =
  /^(smallint|integer|bigint|real|double precision|numeric|oid|int[248]|float[48])\b/;
const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

function elementWriter(native: string | undefined): ElementWriter {
  const type = native ?? '';
  if (NUMBER_TYPES.test(type)) {
    return (text) => (JSON_NUMBER.test(text) ? text : JSON.stringify(text)); // NaN, Infinity
  }
  if (/^bool/.test(type)) {
    return (text) =>
      text === 't' || text === 'true'
        ? 'true'
        : text === 'f' || text === 'false'
          ? 'false'
          : JSON.stringify(text);
  }
  if (/^jsonb?\b/.test(type)) return (text) => text;
  return JSON.stringify;
}

class ArrayReader {
  private readonly text: string;
  private readonly element: ElementWriter;
  private at: number;

  constructor(text: string, at: number, element: ElementWriter) {
    this.text = text;
    this.at = at;
    this.element = element;
  }

  readAll(): string | null {
    const json = this.readLevel();
    return json !== null && this.at === this.text.length ? json : null;
  }

  private readLevel(): string | null {
    this.at++; // the opening brace
    const parts: string[] = [];
    if (this.text[this.at] === '}') {
      this.at++;
      return '[]';
    }
    for (;;) {
      const part = this.readItem();
      if (part === null) return null;
      parts.push(part);
      const next = this.text[this.at++];
      if (next === '}') return `[${parts.join(',')}]`;
      if (next !== ',') return null;
    }
  }

  private readItem(): string | null {
    const char = this.text[this.at];
    if (char === '{') return this.readLevel();
    if (char === '"') return this.readQuoted();
    const start = this.at;
    let raw = '';
    for (; this.at < this.text.length; this.at++) {
      const here = this.text[this.at] as string;
      if (here === ',' || here === '}') break;
      if (here === '\\') this.at++;
      raw += this.text[this.at] ?? '';
    }
    // A quoted "NULL" is text; only the bare word means null.
    if (this.text.slice(start, this.at).toUpperCase() === 'NULL') return 'null';
    return this.element(raw);
  }

  private readQuoted(): string | null {
    let raw = '';
    for (this.at++; this.at < this.text.length; this.at++) {
      const char = this.text[this.at] as string;
      if (char === '"') {
        this.at++;
        return this.element(raw);
      }
      if (char === '\\') this.at++;
      raw += this.text[this.at] ?? '';
    }
    return null;
  }
}

/** The other way: a JSON array as an array literal whose elements have the same texts. */
export function arrayOfJson(value: JsonValue): string {
  if (!Array.isArray(value)) return textOf(value);
  const items = (value as readonly JsonValue[]).map((item) => {
    if (item === null) return 'NULL';
    if (Array.isArray(item)) return arrayOfJson(item);
    return `"${textOf(item).replace(/(["\\])/g, '\\$1')}"`;
  });
  return `{${items.join(',')}}`;
}
