/** Attempts of a job, the slot of the timetable that it was started for, and when a schedule began. */
export const jobAttempts = `
ALTER TABLE headrace.job ADD COLUMN attempt int NOT NULL DEFAULT 0;
ALTER TABLE headrace.job ADD COLUMN retry_at bigint;
ALTER TABLE headrace.job ADD COLUMN slot bigint;
-- Two schedulers that both believe they are the one cannot start a slot twice.
CREATE UNIQUE INDEX job_one_per_slot ON headrace.job (connection_id, slot) WHERE slot IS NOT NULL;
ALTER TABLE headrace.attempt ADD COLUMN stage_ms json NOT NULL DEFAULT '{}';
ALTER TABLE headrace.connection ADD COLUMN scheduled_at bigint NOT NULL DEFAULT headrace.now_ms();
UPDATE headrace.connection SET scheduled_at = created_at;
`;
