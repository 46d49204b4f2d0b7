import { catalogStream, discoveredCatalog } from '../../connectors/spi/discovered-catalog.ts';
import type { DiscoveredStream } from '../../connectors/spi/source.ts';
import type { CatalogStream, ConfiguredStream } from '../../core/store/connection-document.ts';
import { primaryKeyOf } from '../../core/store/connection-document.ts';
import {
  fieldTransforms,
  propertiesOf,
  type FieldTransform,
} from '../../core/store/field-transforms.ts';

/** Airbyte's StreamTransform. */
export interface StreamTransform {
  readonly transformType: 'add_stream' | 'remove_stream' | 'update_stream';
  readonly streamDescriptor: { readonly name: string; readonly namespace?: string };
  readonly updateStream?: readonly FieldTransform[];
}

export type SchemaChangeWord = 'no_change' | 'non_breaking' | 'breaking';

/** What a connection's catalog and its source differ in. A stream without a schema in the catalog is
 * not compared. */
export function catalogDiff(
  configured: readonly ConfiguredStream[],
  offered: readonly DiscoveredStream[],
): StreamTransform[] {
  const transforms: StreamTransform[] = [];
  for (const each of configured) {
    const { stream } = each;
    const now = offered.find((other) => isSame(catalogStream(other), stream));
    const streamDescriptor = descriptorOf(stream);
    if (now === undefined) transforms.push({ transformType: 'remove_stream', streamDescriptor });
    const updateStream = now === undefined ? [] : fieldsChanged(each, now);
    if (updateStream.length === 0) continue;
    transforms.push({ transformType: 'update_stream', streamDescriptor, updateStream });
  }
  for (const each of offered.map(catalogStream)) {
    if (configured.some(({ stream }) => isSame(each, stream))) continue;
    transforms.push({ transformType: 'add_stream', streamDescriptor: descriptorOf(each) });
  }
  return transforms;
}

/** A table that nobody asked for is no change of the connection's. */
export function changeWord(transforms: readonly StreamTransform[]): SchemaChangeWord {
  const own = transforms.filter(({ transformType }) => transformType !== 'add_stream');
  const isBreaking = own.some((each) => each.updateStream?.some(({ breaking }) => breaking));
  return isBreaking ? 'breaking' : own.length > 0 ? 'non_breaking' : 'no_change';
}

/** The catalog as the source has it now, configured as it was; what is new is not selected. An update
 * with it accepts the difference. */
export function refreshedCatalog(
  configured: readonly ConfiguredStream[],
  offered: readonly DiscoveredStream[],
): { streams: ConfiguredStream[] } {
  const streams = discoveredCatalog(offered).streams.map(({ stream, config }) => {
    const known = configured.find((each) => isSame(stream, each.stream));
    return { stream, config: known?.config ?? { ...config, selected: false } };
  });
  return { streams };
}

function fieldsChanged(each: ConfiguredStream, now: DiscoveredStream): FieldTransform[] {
  const old = propertiesOf(each.stream.jsonSchema);
  const next = propertiesOf(now.jsonSchema);
  if (old === null || next === null) return [];
  const needed = [...primaryKeyOf(each), ...(each.config.cursorField ?? []).slice(0, 1)];
  return fieldTransforms(old, next, needed);
}

function descriptorOf({ name, namespace = '' }: CatalogStream) {
  return namespace === '' ? { name } : { name, namespace };
}

function isSame(a: CatalogStream, b: CatalogStream): boolean {
  return a.name === b.name && (a.namespace ?? '') === (b.namespace ?? '');
}
