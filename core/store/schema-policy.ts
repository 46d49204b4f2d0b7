import type { ConnectionDocument } from './connection-document.ts';

/** What a connection does about a change of a stream's schema that it could go on with. */
export const SCHEMA_POLICIES = [
  'ignore',
  'disable',
  'propagate_columns',
  'propagate_fully',
] as const;

export type SchemaPolicy = (typeof SCHEMA_POLICIES)[number];

/** A connection that says nothing carries new columns on: nothing that is written at the source is
 * missing at the destination without somebody's wish. */
export const DEFAULT_SCHEMA_POLICY: SchemaPolicy = 'propagate_columns';

export function schemaPolicyOf(document: ConnectionDocument): SchemaPolicy {
  const given = document['nonBreakingChangesPreference'];
  return SCHEMA_POLICIES.find((each) => each === given) ?? DEFAULT_SCHEMA_POLICY;
}

/** Whether only what the connection's catalog names is delivered. */
export function isHeldToCatalog(policy: SchemaPolicy): boolean {
  return policy === 'ignore' || policy === 'disable';
}
