/** Who may call the API, and who changed what. A token itself is nowhere: only its SHA-256. */
export const access = `
CREATE TABLE headrace.access_token (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
  digest text NOT NULL UNIQUE,
  created_at bigint NOT NULL DEFAULT headrace.now_ms(),
  revoked_at bigint
);
CREATE UNIQUE INDEX access_token_name ON headrace.access_token (name) WHERE revoked_at IS NULL;

CREATE TABLE headrace.audit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at bigint NOT NULL DEFAULT headrace.now_ms(),
  who text NOT NULL,
  address text NOT NULL,
  call text NOT NULL,
  objects json NOT NULL,
  fields json NOT NULL,
  status int NOT NULL
);
`;
