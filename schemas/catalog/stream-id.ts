/** A stream's name at its source: a table in a schema, a collection in a database. */
export interface StreamId {
  readonly namespace: string;
  readonly name: string;
}

export function streamLabel(id: StreamId): string {
  return id.namespace === '' ? id.name : `${id.namespace}.${id.name}`;
}
