import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { StreamSchema } from '../../../schemas/envelope/stream-schema.ts';
import { RowCodec, type CellEncoder } from '../../capture/row-codec.ts';
import { refuseOtherKey } from '../../capture/stream-key.ts';
import type { SchemaIds, SourceOpenOptions } from '../../spi/source.ts';
import { tablesNamed, type ColumnFacts, type TableFacts } from './catalog.ts';
import type { Charset, Charsets } from './charsets.ts';
import { textPlan, wirePlan, type CellPlan, type WirePlan } from './column-types.ts';
import { logIncomplete } from './errors.ts';
import { RowShape } from './row-events.ts';
import type { SchemaHistory } from './schema-history.ts';
import type { SideSession } from './session.ts';
import { WIRE, type TableMap, type WireColumn } from './table-map.ts';
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

/** What the log says of a table, with the names that it leaves out. */
interface NamedTable {
  readonly names: readonly string[];
  readonly key: readonly string[];
  readonly columns: readonly WireColumn[];
  readonly hints: ReadonlyMap<string, ColumnFacts>;
}

async function namedTable(
  { map, place }: KnownTable,
  history: SchemaHistory,
  sql: SideSession,
): Promise<NamedTable> {
  if (map.described) {
    const names = map.columns.map((column) => column.name);
    const key = map.key.map((index) => names[index] as string);
    return { names, key, columns: map.columns, hints: await hintsFor(map, sql) };
  }
  const { columns: facts, key } = await history.shapeOf(map, place);
  const columns = map.columns.map((column, index) => {
    const { unsigned = false, members = [] } = facts[index] ?? {};
    return { ...column, unsigned, members: members.map((each) => Buffer.from(each)) };
  });
  const hints = new Map(facts.map((each) => [each.name, each] as const));
  return { names: facts.map(({ name }) => name), key, columns, hints };
}

/** Where the log does not tell a text's character set, the catalog does; members of ENUM and SET are
 * from there, in UTF-8. */
async function charsetOf(
  column: WireColumn,
  described: boolean,
  facts: ColumnFacts | undefined,
  charsets: Charsets,
): Promise<Charset | null> {
  if (described) return charsets.ofCollation(column.collation);
  if (column.members.length > 0) return charsets.named('utf8mb4');
  if (column.collation > 0) return charsets.ofCollation(column.collation);
  return charsets.named(facts?.charset ?? 'binary');
}

export interface ShapeParts {
  readonly sql: SideSession;
  readonly charsets: Charsets;
  readonly history: SchemaHistory;
  readonly register: Register;
}

/** Makes a table ready as the log describes it. */
export async function compileLoggedShape(
  table: KnownTable,
  storedKey: readonly string[] | undefined,
  { sql, charsets, history, register }: ShapeParts,
): Promise<SchemaIds> {
  const { map } = table;
  const stream = { namespace: map.database, name: map.table };
  const label = streamLabel(stream);
  const { names, key, columns, hints } = await namedTable(table, history, sql);
  refuseOtherKey(label, key, storedKey);
  const plans: WirePlan[] = [];
  for (const [index, column] of columns.entries()) {
    const name = names[index] as string;
    const charset = await charsetOf(column, map.described, hints.get(name), charsets);
    const plan = wirePlan(column, charset, hints.get(name));
    if (plan === null) {
      throw logIncomplete(label, `column ${name} has a type or character set we cannot read`);
    }
    plans.push(plan);
  }
  const encoders = plans.map((plan) => plan.encode);
  const { codec, ids } = await codecOf(schemaOf(stream, key, names, plans), encoders, register);
  table.codec = codec;
  table.shape = new RowShape(plans);
  return ids;
}
