import type { Client } from 'pg';

/** Each takes some 50 KB of the server's memory for as long as the session lives. */
const MOST = 500;

interface Named {
  readonly name: string;
  /** False for the exchange that is to parse it. */
  readonly isParsed: boolean;
}

/**
 * The statements that a session keeps parsed, by their text. Parsing and planning is most of what a
 * batch of one row costs the server.
 */
export class PreparedStatements {
  private readonly names = new Map<string, string>();
  /** Sent for parsing in the exchange under way. */
  private readonly sent = new Map<string, string>();
  private count = 0;

  /** Undefined when the session holds enough already. */
  nameOf(text: string): Named | undefined {
    const known = this.names.get(text) ?? this.sent.get(text);
    if (known !== undefined) return { name: known, isParsed: true };
    if (this.names.size + this.sent.size >= MOST) return undefined;
    const name = `headrace_${this.count++}`;
    this.sent.set(text, name);
    return { name, isParsed: false };
  }

  succeeded(): void {
    for (const [text, name] of this.sent) this.names.set(text, name);
    this.sent.clear();
  }

  /** Which of those sent were parsed before the failure is not known: they get other names. */
  failed(): void {
    this.sent.clear();
  }
}

const bySession = new WeakMap<Client, PreparedStatements>();

/** Undefined where nothing may be kept. */
export function preparedOn(client: Client): PreparedStatements | undefined {
  return bySession.get(client);
}

/**
 * Lets a new session keep statements if nothing stands between it and the server: a pooler, which may
 * hand every transaction to another server process, tells of a process that is not the one that
 * answers.
 */
export async function prepareOn(client: Client): Promise<void> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid');
  const { processID } = client as unknown as { processID: number | null };
  if (rows[0]?.pid === processID) bySession.set(client, new PreparedStatements());
}
