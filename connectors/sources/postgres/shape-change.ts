import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { keepsText } from './carried-types.ts';
import type { SideSession } from './session.ts';
import { broughtRows, hasValues, type CatalogColumn, type TableShape } from './table-shape.ts';

/** A column as the stream has it so far. */
export interface KnownColumn {
  readonly num: number;
  readonly name: string;
  readonly type: number;
  readonly mod: number;
  readonly native: string;
  readonly stamp: string;
  readonly traits: string;
  /** Dropped; its values are still in destinations, so that its name must not come again. */
  readonly gone?: true;
  /** What rows that are older than the column have in it. */
  readonly initial?: string;
}

/** What is stored of a table's shape: DDL has no event of its own and is found by comparison. */
export interface KnownShape {
  readonly lastNum: number;
  /** File of the rows by object id of the table's parts. */
  readonly files: Readonly<Record<string, number>>;
  readonly columns: readonly KnownColumn[];
}

/** A column as a relation message or the catalog describes it. */
export interface NamedColumn {
  readonly name: string;
  readonly type: number;
  readonly mod: number;
  /** The type as DDL spells it, domains down to their base. */
  readonly native: string;
}

/** The shape of a table that is copied now. `added` are columns that events since the snapshot's
 * point may still lack. */
export function copiedShape(
  shape: TableShape,
  natives: readonly string[],
  added: (name: string) => boolean,
): KnownShape {
  const columns = shape.columns.map((column, index) => ({
    ...catalogPart(column),
    name: column.name,
    type: column.type,
    mod: column.mod,
    native: natives[index] as string,
    ...(added(column.name) ? initialOf(shape.label, column) : {}),
  }));
  return { lastNum: shape.lastNum, files: filesOf(shape), columns };
}

function catalogPart({
  num,
  stamp,
  traits,
}: CatalogColumn): Pick<KnownColumn, 'num' | 'stamp' | 'traits'> {
  return { num, stamp, traits };
}

function filesOf({ members }: TableShape): Record<string, number> {
  return Object.fromEntries(members.map(({ oid, file }) => [oid, file]));
}

/** True when the catalog says what is known: nothing is left to compare. */
export function isSettled(known: KnownShape, shape: TableShape): boolean {
  const live = known.columns.filter((column) => column.gone !== true);
  return (
    hasColumns(live, shape) &&
    live.every((column, i) => column.stamp === shape.columns[i]?.stamp) &&
    shape.members.every(({ oid, file }) => known.files[oid] === file) &&
    Object.keys(known.files).length === shape.members.length
  );
}

/** Whether the catalog has the columns that are known, whatever else it says of them. */
export function hasSameColumns(known: KnownShape, shape: TableShape): boolean {
  return hasColumns(
    known.columns.filter((column) => column.gone !== true),
    shape,
  );
}

/** Whether the log describes the columns that are known. */
export function looksLike(known: KnownShape, wire: readonly NamedColumn[]): boolean {
  const columns = known.columns.filter((column) => column.gone !== true);
  return (
    columns.length === wire.length &&
    columns.every(({ name, type, mod }, i) => {
      const sent = wire[i] as NamedColumn;
      return name === sent.name && type === sent.type && mod === sent.mod;
    })
  );
}

function hasColumns(columns: readonly KnownColumn[], shape: TableShape): boolean {
  return (
    columns.length === shape.columns.length &&
    columns.every(({ num, name, type, mod }, i) => {
      const now = shape.columns[i] as CatalogColumn;
      return num === now.num && name === now.name && type === now.type && mod === now.mod;
    })
  );
}

/**
 * Takes the columns that the log now has, in its order, into what is known. Throws SRC_TABLE_CHANGED
 * when rows that no event touches changed under the DDL in a way that cannot be carried (invariant 5
 * for whole rows): better no more rows of the table than some that are silently wrong.
 */
export async function followShape(
  sql: SideSession,
  known: KnownShape,
  shape: TableShape,
  columns: readonly NamedColumn[],
  key: readonly string[],
): Promise<KnownShape> {
  await refuseMovedParts(sql, known, shape);
  const next = new Map(known.columns.map((column) => [column.num, column]));
  const rewritten = shape.members.some(
    ({ oid, file }) => known.files[oid] !== undefined && known.files[oid] !== file,
  );
  let last = 0;
  for (const column of columns) {
    const num = numberOf(known, shape, column);
    if (num <= last) throw changed(shape, column.name, 'cannot be told from another one');
    last = num;
    const before = next.get(num);
    const now = shape.columns.find((each) => each.num === num);
    if (before === undefined) {
      next.set(num, await addedColumn(sql, known, shape, column, now, rewritten));
    } else {
      next.set(num, keptColumn(shape, before, column, now, rewritten, key.includes(column.name)));
    }
  }
  return settle(known, shape, next, columns.length);
}

/** Numbers are not on the wire: the name says which column it is, unless it was given twice. */
function numberOf(known: KnownShape, shape: TableShape, { name }: NamedColumn): number {
  const now = shape.columns.find((column) => column.name === name);
  const before = known.columns.find((column) => column.name === name);
  if (now === undefined && before === undefined) {
    throw changed(shape, name, 'was added and dropped or renamed before the log was read so far');
  }
  if (now !== undefined && before !== undefined && now.num !== before.num) {
    throw changed(shape, name, 'was dropped and added again: older rows lost their values');
  }
  return (now?.num ?? before?.num) as number;
}

async function addedColumn(
  sql: SideSession,
  known: KnownShape,
  shape: TableShape,
  column: NamedColumn,
  now: CatalogColumn | undefined,
  rewritten: boolean,
): Promise<KnownColumn> {
  const { name } = column;
  if (now === undefined) throw changed(shape, name, 'was added and dropped again');
  if (now.num <= known.lastNum) {
    throw changed(shape, name, 'was generated and is a plain column now');
  }
  const initial = initialOf(shape.label, now);
  // A rewrite puts a default's values into the rows themselves: what they are is not known any more.
  const isKnown = initial.initial !== undefined || now.isPlain || !rewritten;
  if (!isKnown && (await hasValues(sql, shape, name))) {
    throw changed(
      shape,
      name,
      'was added and the table rewritten: older rows may have values in it that no event tells',
    );
  }
  return { ...column, ...catalogPart(now), ...initial };
}

function initialOf(label: string, { name, initials }: CatalogColumn): { initial?: string } {
  if (initials.length > 1) {
    throw new PipelineError(
      'SRC_TABLE_CHANGED',
      `table ${label}: column "${name}" was added with different defaults in the table's partitions`,
      { details: { stream: label, column: name } },
    );
  }
  const [initial] = initials;
  return initial === undefined ? {} : { initial };
}

function keptColumn(
  shape: TableShape,
  before: KnownColumn,
  column: NamedColumn,
  now: CatalogColumn | undefined,
  rewritten: boolean,
  inKey: boolean,
): KnownColumn {
  const { name } = column;
  if (before.name !== name) throw changed(shape, before.name, `was renamed to "${name}"`);
  const retyped = before.native !== column.native;
  // After a restart the log begins before what is known, so a description may also be an older one.
  const isOlder = retyped && before.type === now?.type && before.mod === now.mod;
  const [from, to] = isOlder ? [column, before] : [before, column];
  if (!keepsText(from.native, to.native) || (retyped && inKey)) {
    throw changed(shape, name, `changed from ${from.native} to ${to.native}`);
  }
  if (isOlder || now === undefined) return before;
  const sameType = before.type === now.type && before.mod === now.mod;
  if (rewritten && sameType && before.stamp !== now.stamp && before.traits === now.traits) {
    throw changed(
      shape,
      name,
      'was rewritten (ALTER COLUMN ... TYPE ... USING): older rows may have other values',
    );
  }
  return { ...before, ...column };
}

/** Rows of a part that comes or goes do so without events. */
async function refuseMovedParts(
  sql: SideSession,
  known: KnownShape,
  shape: TableShape,
): Promise<void> {
  const present = new Set(shape.members.map(({ oid }) => String(oid)));
  for (const oid of Object.keys(known.files)) {
    if (present.has(oid)) continue;
    const [row] = await sql.query('SELECT $1::oid::regclass::text AS name', [oid]);
    const name = String(row?.['name']);
    const what = name === oid ? 'a partition was dropped' : `partition ${name} was detached`;
    throw partsChanged(shape, `${what}: its rows left without events`);
  }
  for (const member of shape.members) {
    if (known.files[member.oid] !== undefined) continue;
    if (await broughtRows(sql, member)) {
      throw partsChanged(
        shape,
        `partition ${member.name} was attached with rows that came without events`,
      );
    }
  }
}

/** Files and stamps are only taken over when the log is where the catalog is: otherwise a rewrite that
 * is still to come would be taken for an old one. */
function settle(
  known: KnownShape,
  shape: TableShape,
  next: ReadonlyMap<number, KnownColumn>,
  onWire: number,
): KnownShape {
  const byNum = new Map(shape.columns.map((column) => [column.num, column]));
  const ordered = [...next.values()].sort((a, b) => a.num - b.num);
  const columns = ordered.map((column): KnownColumn =>
    byNum.has(column.num) ? column : { ...column, gone: true },
  );
  const live = columns.filter((column) => column.gone !== true);
  if (live.length !== onWire || !hasColumns(live, shape)) {
    const lastNum = Math.max(known.lastNum, ...columns.map(({ num }) => num));
    return { lastNum, files: known.files, columns };
  }
  return {
    lastNum: shape.lastNum,
    files: filesOf(shape),
    columns: columns.map((column) => {
      const now = byNum.get(column.num);
      return now === undefined ? column : { ...column, ...catalogPart(now) };
    }),
  };
}

function changed({ label }: TableShape, column: string, what: string): PipelineError {
  return new PipelineError('SRC_TABLE_CHANGED', `table ${label}: column "${column}" ${what}`, {
    details: { stream: label, column },
  });
}

function partsChanged({ label }: TableShape, what: string): PipelineError {
  return new PipelineError('SRC_TABLE_CHANGED', `table ${label}: ${what}`, {
    details: { stream: label },
  });
}
