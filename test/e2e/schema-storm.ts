/** Random DDL over a handful of tables, and what each table may end as. */

export interface StormColumn {
  readonly name: string;
  readonly type: string;
}

/** What a stream may do about what was done to its table. `carried`: it holds the table's rows, after
 * a new copy at most. `perhaps`: that, or it stands still with a code that says why. */
export type Fate = 'carried' | 'perhaps';

export interface StormTable {
  readonly name: string;
  columns: StormColumn[];
  fate: Fate;
}

type Random = () => number;

const TYPES = ['smallint', 'integer', 'bigint', 'varchar(10)', 'text', 'boolean', 'date'];
const WIDER: Readonly<Record<string, string>> = {
  smallint: 'integer',
  integer: 'bigint',
  'varchar(10)': 'varchar(40)',
  'varchar(40)': 'text',
};
const NARROWER: Readonly<Record<string, string>> = {
  bigint: 'integer',
  integer: 'smallint',
  text: 'varchar(40)',
  'varchar(40)': 'varchar(20)',
};
const VALUES: Readonly<Record<string, string>> = {
  smallint: '(random() * 99)::int',
  integer: '(random() * 99)::int',
  bigint: '(random() * 99)::int',
  boolean: 'random() < 0.5',
  date: `date '2000-01-01' + (random() * 999)::int`,
};

/** mulberry32: the same statements again for the same seed. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export class Storm {
  readonly tables: readonly StormTable[];
  private readonly random: Random;
  private named = 0;

  constructor(seed: number, tables: number) {
    this.random = randomOf(seed);
    this.tables = Array.from({ length: tables }, (_, i) => ({
      name: `storm_${i}`,
      columns: [{ name: 'c0', type: 'text' }],
      fate: 'carried' as const,
    }));
  }

  /** The next statement, after which the model is as the table will be. */
  next(): string {
    const table = this.pick(this.tables);
    const kinds = [
      ...Array.from({ length: 5 }, () => this.add),
      ...Array.from({ length: 2 }, () => this.drop),
      ...Array.from({ length: 4 }, () => this.widen),
      this.rename,
      this.narrow,
      this.flip,
      this.changeKey,
    ];
    const statement = this.pick(kinds).call(this, table);
    return statement ?? this.add(table);
  }

  /** Changes of rows as the table is now. */
  changes(table: StormTable): string {
    const set = table.columns.map(({ name, type }) => `"${name}" = ${valueOf(type)}`);
    const list = set.length === 0 ? 'key = key' : set.join(', ');
    const at = Math.floor(this.random() * 40);
    return `update ${table.name} set ${list} where key % 7 = ${at % 7};
      delete from ${table.name} where key = ${at};
      insert into ${table.name} (key) values (${at}) on conflict do nothing`;
  }

  private add(table: StormTable): string {
    const column = { name: `c${++this.named}`, type: this.pick(TYPES) };
    table.columns = [...table.columns, column];
    const isConstant = this.random() < 0.4;
    const given = isConstant ? ` default ${constantOf(column.type)}` : '';
    return `alter table ${table.name} add "${column.name}" ${column.type}${given}`;
  }

  private drop(table: StormTable): string | null {
    if (table.columns.length < 2) return null;
    const { name } = this.pick(table.columns);
    table.columns = table.columns.filter((column) => column.name !== name);
    return `alter table ${table.name} drop "${name}"`;
  }

  private widen(table: StormTable): string | null {
    return this.retype(table, WIDER, 'carried');
  }

  private narrow(table: StormTable): string | null {
    return this.retype(table, NARROWER, 'perhaps');
  }

  private flip(table: StormTable): string | null {
    return this.retype(table, { integer: 'text', bigint: 'text', date: 'text' }, 'perhaps');
  }

  private rename(table: StormTable): string | null {
    if (table.columns.length === 0) return null;
    const { name } = this.pick(table.columns);
    const next = `c${++this.named}`;
    table.columns = table.columns.map((each) =>
      each.name === name ? { ...each, name: next } : each,
    );
    return `alter table ${table.name} rename "${name}" to "${next}"`;
  }

  private changeKey(table: StormTable): string {
    table.fate = 'perhaps';
    return `alter table ${table.name} drop constraint if exists ${table.name}_pkey;
      alter table ${table.name} replica identity full`;
  }

  private retype(
    table: StormTable,
    types: Readonly<Record<string, string>>,
    fate: Fate,
  ): string | null {
    const fitting = table.columns.filter(({ type }) => types[type] !== undefined);
    if (fitting.length === 0) return null;
    const { name, type } = this.pick(fitting);
    const next = types[type] as string;
    table.columns = table.columns.map((each) => (each.name === name ? { name, type: next } : each));
    if (fate === 'perhaps') table.fate = fate;
    return `alter table ${table.name} alter "${name}" drop default;
      alter table ${table.name} alter "${name}" type ${next}`;
  }

  private pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)] as T;
  }
}

function valueOf(type: string): string {
  return VALUES[type] ?? `left(md5(random()::text), 8)`;
}

function constantOf(type: string): string {
  if (type === 'boolean') return 'true';
  if (type === 'date') return `'1999-12-31'`;
  return VALUES[type] === undefined ? `'given'` : '7';
}
