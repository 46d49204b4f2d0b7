/** A JSON document as Postgres prints it from a `jsonb`: members ordered by the length of their
 * names and then by bytes, the last of several with one name, numbers without an exponent. */
export function jsonbText(document: string): string {
  const parser = new Parser(document);
  const text = parser.value();
  parser.end();
  return text;
}

const BLANK = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\]|\\.)*"/suy;
const NUMBER = /(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?/y;
const LITERAL = /true|false|null/y;

class Parser {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  value(): string {
    this.take(BLANK);
    const first = this.text[this.at];
    const text = first === '{' ? this.object() : first === '[' ? this.array() : this.scalar();
    this.take(BLANK);
    return text;
  }

  end(): void {
    if (this.at < this.text.length) throw new SyntaxError(`JSON ends before place ${this.at}`);
  }

  private object(): string {
    const members = new Map<string, string>();
    this.at++;
    this.take(BLANK);
    while (!this.skip('}')) {
      this.take(BLANK);
      const name = JSON.parse(this.expect(STRING)) as string;
      this.take(BLANK);
      if (!this.skip(':')) throw this.unexpected();
      members.set(name, this.value());
      if (!this.skip(',') && this.text[this.at] !== '}') throw this.unexpected();
    }
    const ordered = [...members].map(([name, value]) => ({ name: Buffer.from(name), value }));
    ordered.sort((a, b) => a.name.length - b.name.length || Buffer.compare(a.name, b.name));
    return `{${ordered.map(({ name, value }) => `${quoted(name.toString())}: ${value}`).join(', ')}}`;
  }

  private array(): string {
    const items: string[] = [];
    this.at++;
    this.take(BLANK);
    while (!this.skip(']')) {
      items.push(this.value());
      if (!this.skip(',') && this.text[this.at] !== ']') throw this.unexpected();
    }
    return `[${items.join(', ')}]`;
  }

  private scalar(): string {
    if (this.text[this.at] === '"') return quoted(JSON.parse(this.expect(STRING)) as string);
    const literal = this.take(LITERAL);
    if (literal !== null) return literal[0];
    const number = this.take(NUMBER);
    if (number === null) throw this.unexpected();
    const [, sign = '', whole = '', fraction = '', exponent = '0'] = number;
    return numberText(sign, whole, fraction, Number(exponent));
  }

  private skip(character: string): boolean {
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private expect(pattern: RegExp): string {
    const found = this.take(pattern);
    if (found === null) throw this.unexpected();
    return found[0];
  }

  private take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found !== null) this.at += found[0].length;
    return found;
  }

  private unexpected(): SyntaxError {
    return new SyntaxError(`not JSON at place ${this.at}`);
  }
}

/** JSON.stringify escapes what Postgres does, and lone halves of pairs, which UTF-8 does not have. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

/** Digits behind the point are kept as they were written; a zero has no sign. */
function numberText(sign: string, whole: string, fraction: string, exponent: number): string {
  const point = whole.length + exponent;
  const digits = `${'0'.repeat(Math.max(0, 1 - point))}${whole}${fraction}`;
  const before = Math.max(1, point);
  const padded = digits.padEnd(before, '0');
  const left = padded.slice(0, before).replace(/^0+(?=\d)/, '');
  const right = padded.slice(before);
  const text = right === '' ? left : `${left}.${right}`;
  return /[1-9]/.test(text) ? `${sign}${text}` : text;
}
