import { randomUUID } from 'node:crypto';
import { toPipelineError } from '../../core/errors/pipeline-error.ts';
import { failureReason } from '../../core/store/failure-reason.ts';

/** Airbyte's SynchronousJobRead: what a check or a discovery says about its own run. */
export interface JobInfo {
  readonly id: string;
  readonly configType: string;
  readonly createdAt: number;
  readonly endedAt: number;
  readonly succeeded: boolean;
  readonly connectorConfigurationUpdated: boolean;
  readonly logs: { readonly logLines: readonly string[] };
  readonly failureReason?: object;
}

/** Runs work that the request waits for. A failure is part of the answer: clients expect 200. */
export async function runJob<T>(
  configType: string,
  work: () => Promise<T>,
): Promise<{ result?: T; jobInfo: JobInfo; failure?: string }> {
  const createdAt = seconds();
  const info = (succeeded: boolean, logLines: string[]): JobInfo => ({
    id: randomUUID(),
    configType,
    createdAt,
    endedAt: seconds(),
    succeeded,
    connectorConfigurationUpdated: false,
    logs: { logLines },
  });
  try {
    return { result: await work(), jobInfo: info(true, []) };
  } catch (thrown) {
    const error = toPipelineError(thrown);
    const reason = failureReason(error.code, error.message);
    return {
      failure: reason.externalMessage,
      jobInfo: { ...info(false, [reason.externalMessage]), failureReason: reason },
    };
  }
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
