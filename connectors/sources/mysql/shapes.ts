import type { StreamSchema } from '../../../schemas/envelope/stream-schema.ts';
import { RowCodec, type CellEncoder } from '../../capture/row-codec.ts';
import { refuseOtherKey } from '../../capture/stream-key.ts';
import type { SchemaIds, SourceOpenOptions } from '../../spi/source.ts';
import { tablesNamed, type ColumnFacts, type TableFacts } from './catalog.ts';
import type { Charsets } from './charsets.ts';
import { textPlan, wirePlan, type CellPlan, type WirePlan } from './column-types.ts';
import { logIncomplete } from './errors.ts';
import { RowShape } from './row-events.ts';
import type { SideSession } from './session.ts';
import { WIRE, type TableMap } from './table-map.ts';
import type { KnownTable } from './tables.ts';

type Register = SourceOpenOptions['registerSchema'];

export function schemaOf(
  stream: StreamSchema['stream'],
  key: readonly string[],
  names: readonly string[],
  plans: readonly CellPlan[],
): StreamSchema {
  return {
    stream,
    key,
    columns: names.map((name, index) => ({
      name,
      type: (plans[index] as CellPlan).type,
      inKey: key.includes(name),
    })),
  };
}

async function codecOf(
  schema: StreamSchema,
  encoders: readonly CellEncoder[],
  register: Register,
): Promise<{ codec: RowCodec; ids: SchemaIds }> {
  const ids = await register(schema);
  return { codec: new RowCodec(schema, ids, encoders), ids };
}

/** For rows that a query prints. */
export async function compileTextShape(
  table: TableFacts,
  register: Register,
): Promise<{ codec: RowCodec; ids: SchemaIds; plans: readonly CellPlan[] }> {
  const plans = table.columns.map(textPlan);
  const names = table.columns.map((column) => column.name);
  const schema = schemaOf(table.stream, table.key, names, plans);
  const encoders = plans.map((plan) => plan.encode);
  return { ...(await codecOf(schema, encoders, register)), plans };
}

const BINARY_COLLATION = 63;

/** MariaDB's UUID and addresses lie in the log as BINARY; the catalog of now tells them apart. */
async function hintsFor(
  map: TableMap,
  sql: SideSession,
): Promise<ReadonlyMap<string, ColumnFacts>> {
  const doubtful = map.columns.some(
    ({ type, collation, meta }) =>
      type === WIRE.string && collation <= BINARY_COLLATION && (meta === 16 || meta === 4),
  );
  if (!doubtful) return new Map();
  const stream = { namespace: map.database, name: map.table };
  const table = (await tablesNamed(sql, [stream])).values().next().value;
  return new Map(table?.columns.map((column) => [column.name, column] as const));
}

/** Makes a table ready as the log describes it. */
export async function compileLoggedShape(
  table: KnownTable,
  storedKey: readonly string[] | undefined,
  sql: SideSession,
  charsets: Charsets,
  register: Register,
): Promise<SchemaIds> {
  const { map } = table;
  const label = `${map.database}.${map.table}`;
  if (!map.described) {
    throw logIncomplete(
      label,
      "its columns are not named in the log; run: SET GLOBAL binlog_row_metadata = 'FULL'",
    );
  }
  const key = map.key.map((index) => map.columns[index]?.name as string);
  refuseOtherKey(label, key, storedKey);
  const hints = await hintsFor(map, sql);
  const plans: WirePlan[] = [];
  for (const column of map.columns) {
    const charset = await charsets.ofCollation(column.collation);
    const plan = wirePlan(column, charset, hints.get(column.name));
    if (plan === null) {
      throw logIncomplete(
        label,
        `column ${column.name} has a type or character set we cannot read`,
      );
    }
    plans.push(plan);
  }
  const stream = { namespace: map.database, name: map.table };
  const names = map.columns.map((column) => column.name);
  const encoders = plans.map((plan) => plan.encode);
  const { codec, ids } = await codecOf(schemaOf(stream, key, names, plans), encoders, register);
  table.codec = codec;
  table.shape = new RowShape(plans);
  return ids;
}
