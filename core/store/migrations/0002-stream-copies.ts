/** Which copy of a stream is wanted: the job that asked for it. No row means the first one. */
export const streamCopies = `
CREATE TABLE headrace.stream_copy (
  actor_id uuid NOT NULL REFERENCES headrace.actor,
  namespace text NOT NULL,
  name text NOT NULL,
  copy text NOT NULL,
  PRIMARY KEY (actor_id, namespace, name)
);
`;
