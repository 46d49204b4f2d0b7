/** A clean-up under way: until then no new source may begin that could use what it drops. */
export const cleanupClaims = `
ALTER TABLE headrace.cleanup ADD COLUMN claimed_until bigint NOT NULL DEFAULT 0;
`;
