/** Times are epoch milliseconds by the database's clock. Documents are `json`, not `jsonb`: what a
 * client sent comes back with its keys in the client's order. */
export const initial = `
CREATE FUNCTION headrace.now_ms() RETURNS bigint LANGUAGE sql VOLATILE
  AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

CREATE TABLE headrace.workspace (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  slug text NOT NULL UNIQUE,
  customer_id uuid NOT NULL,
  document json NOT NULL,
  created_at bigint NOT NULL DEFAULT headrace.now_ms()
);

-- capture_name is fixed for ever at creation and unique among all sources that ever were: topics are
-- named after it, and a renamed or re-created source must not continue another one's topics. life
-- rises when a source is let go: what it captures next goes to topics of their own.
CREATE TABLE headrace.actor (
  id uuid PRIMARY KEY,
  workspace_id uuid NOT NULL REFERENCES headrace.workspace,
  kind text NOT NULL CHECK (kind IN ('source', 'destination')),
  name text NOT NULL,
  capture_name text NOT NULL,
  life int NOT NULL DEFAULT 1,
  definition_id uuid NOT NULL,
  connector text NOT NULL,
  configuration json NOT NULL,
  revision int NOT NULL DEFAULT 1,
  deprecated boolean NOT NULL DEFAULT false,
  created_at bigint NOT NULL DEFAULT headrace.now_ms(),
  UNIQUE (kind, capture_name)
);

CREATE TABLE headrace.operation (
  id uuid PRIMARY KEY,
  workspace_id uuid NOT NULL REFERENCES headrace.workspace,
  name text NOT NULL,
  configuration json NOT NULL,
  deprecated boolean NOT NULL DEFAULT false
);

CREATE TABLE headrace.connection (
  id uuid PRIMARY KEY,
  workspace_id uuid NOT NULL REFERENCES headrace.workspace,
  source_id uuid NOT NULL REFERENCES headrace.actor,
  destination_id uuid NOT NULL REFERENCES headrace.actor,
  status text NOT NULL CHECK (status IN ('active', 'inactive', 'deprecated')),
  document json NOT NULL,
  version int NOT NULL DEFAULT 1,
  created_at bigint NOT NULL DEFAULT headrace.now_ms()
);

CREATE TABLE headrace.job (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  connection_id uuid NOT NULL REFERENCES headrace.connection,
  config_type text NOT NULL,
  status text NOT NULL
    CHECK (status IN ('pending', 'running', 'incomplete', 'failed', 'succeeded', 'cancelled')),
  streams json NOT NULL,
  progress json,
  created_at bigint NOT NULL DEFAULT headrace.now_ms(),
  updated_at bigint NOT NULL DEFAULT headrace.now_ms(),
  started_at bigint
);
-- One open job per connection: two requests at once cannot both create one.
CREATE UNIQUE INDEX job_one_open ON headrace.job (connection_id)
  WHERE status IN ('pending', 'running', 'incomplete');
CREATE INDEX job_by_connection ON headrace.job (connection_id, id DESC);

CREATE TABLE headrace.attempt (
  job_id bigint NOT NULL REFERENCES headrace.job,
  number int NOT NULL,
  status text NOT NULL CHECK (status IN ('running', 'failed', 'succeeded')),
  stream_stats json NOT NULL DEFAULT '[]',
  failures json NOT NULL DEFAULT '[]',
  created_at bigint NOT NULL DEFAULT headrace.now_ms(),
  updated_at bigint NOT NULL DEFAULT headrace.now_ms(),
  ended_at bigint,
  PRIMARY KEY (job_id, number)
);

CREATE TABLE headrace.job_log (
  job_id bigint NOT NULL REFERENCES headrace.job,
  attempt int NOT NULL,
  line_no bigint GENERATED ALWAYS AS IDENTITY,
  line text NOT NULL,
  PRIMARY KEY (job_id, attempt, line_no)
);

CREATE TABLE headrace.lease (
  unit text PRIMARY KEY,
  owner text NOT NULL,
  expires_at bigint NOT NULL
);

CREATE TABLE headrace.report (
  unit text PRIMARY KEY,
  report json NOT NULL,
  reported_at bigint NOT NULL
);

CREATE TABLE headrace.command (
  id uuid PRIMARY KEY,
  unit text NOT NULL,
  kind text NOT NULL,
  streams json NOT NULL,
  seq bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX command_by_unit ON headrace.command (unit, seq);

CREATE TABLE headrace.cleanup (
  id uuid PRIMARY KEY,
  actor_id uuid NOT NULL REFERENCES headrace.actor,
  capture_id text NOT NULL,
  failed_attempts int NOT NULL DEFAULT 0,
  due_at bigint NOT NULL DEFAULT headrace.now_ms(),
  last_error text
);
`;
