/** What is to be told of, whom, and what has been told already. */
export const alerts = `
ALTER TABLE headrace.workspace ADD COLUMN notifications json NOT NULL DEFAULT '{}';

-- Written in the transaction of the fact it tells of; taken by the alerts service in this order.
CREATE TABLE headrace.event (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  connection_id uuid NOT NULL REFERENCES headrace.connection,
  job_id bigint,
  details json NOT NULL DEFAULT '{}',
  created_at bigint NOT NULL DEFAULT headrace.now_ms()
);

-- Messages on their way; the target is a secret and sealed as configurations are.
CREATE TABLE headrace.notification (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  target json NOT NULL,
  message json NOT NULL,
  failed_attempts int NOT NULL DEFAULT 0,
  due_at bigint NOT NULL DEFAULT headrace.now_ms(),
  created_at bigint NOT NULL DEFAULT headrace.now_ms()
);

-- A condition that was told of and still holds.
CREATE TABLE headrace.standing_alert (
  subject text NOT NULL,
  kind text NOT NULL,
  since bigint NOT NULL DEFAULT headrace.now_ms(),
  PRIMARY KEY (subject, kind)
);

-- Log that a source's server keeps for us, as last asked; asked for inactive connections too.
CREATE TABLE headrace.retained_log (
  capture_id text PRIMARY KEY,
  bytes bigint NOT NULL,
  asked_at bigint NOT NULL
);
`;
