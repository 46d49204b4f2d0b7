import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { SECRET_MASK } from '../api/connector-config.ts';
import type { ConnectionEntry, OperationEntry } from './config-file.ts';
import type { DeployedOperation } from './deployed-config.ts';
import type { RemoteApi } from './remote-api.ts';

/** The operations that a connection is to have, those it has already by their ids; undefined where the
 * file says nothing of them. Throws CFG_INVALID_FILE for an address that is only a mask. */
export function operationsContent(
  deployed: readonly DeployedOperation[],
  { name: connection, operations }: ConnectionEntry,
): object[] | undefined {
  return operations?.map((entry) => {
    const found = deployed.find(({ name }) => name === entry.name);
    if (found === undefined && entry.operatorConfiguration.webhook?.executionUrl === SECRET_MASK) {
      throw new PipelineError(
        'CFG_INVALID_FILE',
        `operation ${entry.name} of connection ${connection} needs its executionUrl: the file has a mask`,
      );
    }
    return { ...entry, ...(found && { operationId: found.operationId }) };
  });
}

/** Whether they are others, in another order, or what one of them does is something else. */
export async function operationsDiffer(
  api: RemoteApi,
  deployed: readonly DeployedOperation[],
  asked: readonly OperationEntry[],
): Promise<boolean> {
  if (deployed.length !== asked.length) return true;
  for (const [i, { operationId, name }] of deployed.entries()) {
    const entry = asked[i];
    if (entry === undefined || entry.name !== name) return true;
    // The API compares: it alone knows what is behind the mask.
    const body = { ...entry, operationId };
    const { changed } = await api.call<{ changed: string[] }>('operations/compare', body);
    if (changed.length > 0) return true;
  }
  return false;
}
