/** A deleted workspace stays, for what was in it still names it. */
export const workspaces = `
ALTER TABLE headrace.workspace ADD COLUMN deprecated boolean NOT NULL DEFAULT false;
`;
