import {
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBInstance,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeValue,
  type DuckDBConnection,
} from '@duckdb/node-api';
import type { FileColumn } from '../../../../../connectors/destinations/s3/file-columns.ts';
import type { FileValue } from '../../../../../connectors/destinations/s3/file-values.ts';
import {
  PublishedFile,
  writtenValue,
} from '../../../../../connectors/destinations/s3/published-rows.ts';

/** Two readers of Parquet files that know nothing of the writer. Values come back column by column. */
export async function readByHyparquet(
  path: string,
  columns: readonly FileColumn[],
): Promise<{ groups: number; columns: FileValue[][] }> {
  const file = new PublishedFile(path);
  const found: FileValue[][] = columns.map(() => []);
  let groups = 0;
  try {
    for await (const group of file.groups(columns)) {
      groups++;
      columns.forEach((column, index) => {
        const cells = group.columns[index];
        if (cells?.length !== group.rows) throw new Error(`${column.name}: a cell is missing`);
        for (let i = 0; i < group.rows; i++) found[index]!.push(writtenValue(cells[i], column));
      });
    }
  } finally {
    file.close();
  }
  return { groups, columns: found };
}

export class DuckDbReader {
  private connection: DuckDBConnection | null = null;

  async query(sql: string): Promise<unknown[][]> {
    this.connection ??= await (await DuckDBInstance.create()).connect();
    return (await this.connection.runAndReadAll(sql)).getRows();
  }

  async read(path: string, columns: readonly FileColumn[]): Promise<FileValue[][]> {
    const names = columns.map(({ name }) => `"${name}"`).join(', ');
    const rows = await this.query(`select ${names} from read_parquet('${path}')`);
    return columns.map((column, index) => rows.map((row) => fileValue(row[index], column)));
  }
}

/** What DuckDB gives, in the writer's terms. */
function fileValue(value: unknown, column: FileColumn): FileValue {
  if (typeof value === 'string') return new Uint8Array(Buffer.from(value));
  if (value instanceof DuckDBBlobValue) return new Uint8Array(value.bytes);
  if (value instanceof DuckDBDateValue) return value.days;
  if (value instanceof DuckDBTimeValue) return value.micros;
  if (value instanceof DuckDBTimestampValue) return value.micros;
  if (value instanceof DuckDBDecimalValue) return value.value;
  if (value instanceof DuckDBTimestampTZValue) {
    return column.form === 'timestamptz-millis' ? value.micros / 1000n : value.micros;
  }
  return value as FileValue;
}

/** For comparisons that tell -0 from 0 and show bytes in a readable way. */
export function shown(value: FileValue | undefined): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  if (typeof value === 'number' && Object.is(value, -0)) return '-0';
  return String(value);
}
