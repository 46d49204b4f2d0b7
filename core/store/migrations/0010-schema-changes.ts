/** Differences between a connection's catalog and what its source sends. `pending` ones are not in the
 * catalog; a change is a job's when the job was open, or was the next one. */
export const schemaChanges = `
CREATE TABLE headrace.schema_change (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  connection_id uuid NOT NULL REFERENCES headrace.connection,
  job_id bigint,
  namespace text NOT NULL,
  name text NOT NULL,
  transforms json NOT NULL,
  breaking boolean NOT NULL,
  message text NOT NULL,
  pending boolean NOT NULL,
  found_at bigint NOT NULL DEFAULT headrace.now_ms()
);
CREATE INDEX schema_change_connection ON headrace.schema_change (connection_id, id);
CREATE INDEX schema_change_job ON headrace.schema_change (job_id);
`;
