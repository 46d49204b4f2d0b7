import type { Shape } from '../../../schemas/normalize/shape.ts';
import type { Statement, StatementResult } from './exchange.ts';
import { quoted, SHAPES_TABLE } from './identifiers.ts';

/**
 * The bookkeeping of normalized streams: which table and column belongs to which path of the
 * documents. Names are given in the order things are met, so they cannot be worked out again.
 */
export function createShapes(schema: string): Statement {
  return {
    text: `CREATE TABLE IF NOT EXISTS ${shapesTable(schema)} (
      connection_id text NOT NULL, topic text NOT NULL, shape jsonb NOT NULL,
      PRIMARY KEY (connection_id, topic))`,
  };
}

function shapesTable(schema: string): string {
  return `${quoted(schema)}.${quoted(SHAPES_TABLE)}`;
}

export function selectShape(schema: string, connectionId: string, topic: string): Statement {
  return {
    text: `SELECT shape FROM ${shapesTable(schema)} WHERE connection_id=$1 AND topic=$2`,
    values: [connectionId, topic],
  };
}

export function readShape(result: StatementResult | undefined): Shape {
  const text = result?.rows[0]?.[0];
  return text === undefined || text === null ? [] : (JSON.parse(text) as Shape);
}

export function storeShape(
  schema: string,
  connectionId: string,
  topic: string,
  shape: Shape,
): Statement {
  return {
    text: `INSERT INTO ${shapesTable(schema)} VALUES ($1, $2, $3::jsonb)
      ON CONFLICT (connection_id, topic) DO UPDATE SET shape=excluded.shape`,
    values: [connectionId, topic, JSON.stringify(shape)],
  };
}
