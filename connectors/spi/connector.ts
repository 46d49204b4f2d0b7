/** What every connector says about itself, in Airbyte's words. */
export interface ConnectorSpec {
  /** Short name: the folder, and `connector` in the source block of events. */
  readonly name: string;
  /** Airbyte's display name ("Postgres") and fixed definition id. */
  readonly title: string;
  readonly definitionId: string;
  readonly dockerRepository: string;
  readonly documentationUrl: string;
  /** JSON schema of the configuration; secret fields carry `airbyte_secret: true`. */
  readonly connectionSpecification: Record<string, unknown>;
  readonly supportedDestinationSyncModes?: readonly ('append' | 'overwrite' | 'append_dedup')[];
  /** Destinations: a connection that names no streams gets rows appended, though one row per key is
   * possible. */
  readonly appendsByDefault?: boolean;
}

/** A failed check is an answer, not an exception: `message` lists each failed point with the
 * statement that mends it. `warnings` do not fail it. */
export interface CheckResult {
  readonly ok: boolean;
  readonly message: string;
  readonly warnings?: readonly string[];
}
