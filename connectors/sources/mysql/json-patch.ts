import { badValue } from './errors.ts';
import { jsonParts, quotedJson, type JsonParts } from './json-text.ts';
import { lengthAt, lengthBytes } from './packets.ts';

/** A document in pieces: a scalar's text, an array's items, an object's members by name. */
type Node = string | Node[] | Map<string, Node>;

const [REPLACE, INSERT, REMOVE] = [0, 1, 2];

/** The text of a document after the differences that the log has in place of it: operation, path and
 * value, one after the other. */
export function patchedJson(document: Buffer, differences: Buffer): string {
  let root = nodeOf(jsonParts(document, 0, document.length));
  for (let pos = 0; pos < differences.length;) {
    const operation = differences[pos++] as number;
    const path = lengthAt(differences, pos);
    pos += lengthBytes + path;
    const legs = legsOf(differences.toString('utf8', pos - path, pos));
    let value: Node = 'null';
    if (operation !== REMOVE) {
      const length = lengthAt(differences, pos);
      pos += lengthBytes + length;
      value = nodeOf(jsonParts(differences, pos - length, pos));
    }
    if (legs.length === 0) root = value;
    else change(parentOf(root, legs), legs.at(-1) as string | number, operation, value);
  }
  return textOf(root);
}

function nodeOf(parts: JsonParts): Node {
  if (typeof parts === 'string') return parts;
  if (parts.keys === null) return parts.values.map((value) => nodeOf(value()));
  return new Map(parts.keys.map((key, i) => [key, nodeOf((parts.values[i] as () => JsonParts)())]));
}

/** `$.name."quoted name"[3]` as names and indexes. */
function legsOf(path: string): (string | number)[] {
  const legs: (string | number)[] = [];
  const leg = /\.("(?:[^"\\]|\\.)*"|[^.["]+)|\[(\d+)\]/gy;
  leg.lastIndex = 1;
  while (leg.lastIndex < path.length) {
    const found = leg.exec(path);
    if (found === null) throw badValue('path into a JSON document');
    const [, name, index] = found;
    if (index !== undefined) legs.push(Number(index));
    else legs.push(name?.startsWith('"') === true ? (JSON.parse(name) as string) : String(name));
  }
  return legs;
}

function parentOf(root: Node, legs: readonly (string | number)[]): Node {
  let node: Node | undefined = root;
  for (const leg of legs.slice(0, -1)) {
    if (node instanceof Map) node = node.get(String(leg));
    else if (Array.isArray(node)) node = node[Number(leg)];
    else node = undefined;
  }
  if (node === undefined) throw badValue('change of a JSON document');
  return node;
}

function change(parent: Node, leg: string | number, operation: number, value: Node): void {
  if (parent instanceof Map && typeof leg === 'string') {
    if (operation === REMOVE) parent.delete(leg);
    else parent.set(leg, value);
  } else if (Array.isArray(parent) && typeof leg === 'number') {
    if (operation === REMOVE) parent.splice(leg, 1);
    else if (operation === INSERT) parent.splice(leg, 0, value);
    else if (operation === REPLACE) parent[leg] = value;
  } else throw badValue('change of a JSON document');
}

/** Members in the order in which MySQL stores and prints them: the shorter name first, then by bytes. */
function textOf(node: Node): string {
  if (typeof node === 'string') return node;
  if (Array.isArray(node)) return `[${node.map(textOf).join(', ')}]`;
  const members = [...node].map(([name, value]) => ({ bytes: Buffer.from(name), name, value }));
  members.sort((a, b) => a.bytes.length - b.bytes.length || a.bytes.compare(b.bytes));
  return `{${members.map(({ name, value }) => `${quotedJson(name)}: ${textOf(value)}`).join(', ')}}`;
}
