import type { Rig } from './rig.ts';

/** By stream: the source's mode, the destination's, and what else its configuration has. */
export type Modes = Record<string, readonly [string, string, object?]>;

/** A connection whose streams, of one namespace, are read in these ways. */
export async function connectWithModes(
  rig: Rig,
  ends: { readonly sourceId: string; readonly destinationId: string },
  namespace: string,
  modes: Modes,
): Promise<string> {
  const streams = Object.entries(modes).map(([name, [syncMode, destinationSyncMode, more]]) => ({
    stream: { name, namespace },
    config: { syncMode, destinationSyncMode, ...more },
  }));
  const { connectionId } = await rig.api.quiet<{ connectionId: string }>('connections/create', {
    ...ends,
    namespaceDefinition: 'destination',
    syncCatalog: { streams },
  });
  return connectionId;
}
