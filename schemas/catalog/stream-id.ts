/** A stream's name at its source: a table in a schema, a collection in a database. */
export interface StreamId {
  readonly namespace: string;
  readonly name: string;
}

/** One text per stream, for maps and status keys. The separator cannot occur in JSON text unescaped
 * and is refused in identifiers by every source we read. */
export function streamKey(id: StreamId): string {
  return `${id.namespace}\u0000${id.name}`;
}

export function streamLabel(id: StreamId): string {
  return id.namespace === '' ? id.name : `${id.namespace}.${id.name}`;
}
