/** An operation's type in clear: its configuration is sealed. */
export const operations = `
ALTER TABLE headrace.operation ADD COLUMN operator_type text NOT NULL DEFAULT 'webhook';
`;
