/** The newest order to deliver a stream again, per stream of a connection. A row stays when the order
 * was carried out: what it stands for is part of the connection's version. */
export const streamReplays = `
CREATE TABLE headrace.stream_replay (
  connection_id uuid NOT NULL REFERENCES headrace.connection,
  namespace text NOT NULL,
  name text NOT NULL,
  replay text NOT NULL,
  start json NOT NULL,
  rebuild boolean NOT NULL,
  done boolean NOT NULL DEFAULT false,
  ordered_at bigint NOT NULL DEFAULT headrace.now_ms(),
  PRIMARY KEY (connection_id, namespace, name)
);
`;
