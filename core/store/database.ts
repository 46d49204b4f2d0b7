/** Rows come back as objects: int8 as number, json parsed. Parameters are `$1`...; JSON is passed as
 * text. */
export interface Queryable {
  query<Row extends object = Record<string, unknown>>(
    sql: string,
    params?: readonly unknown[],
  ): Promise<Row[]>;
  /** Several statements without parameters. */
  script(sql: string): Promise<void>;
}

/** The one interface between the store and its two drivers. Errors are PipelineErrors. */
export interface Database extends Queryable {
  /** Commits when `work` resolves, rolls back when it rejects. */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>;
  /** May be called again. */
  close(): Promise<void>;
}
