import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A secret as it is, and as encodings that are not meant to hide it leave it. */
export function disguises(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [
    secret,
    bytes.toString('hex'),
    bytes.toString('base64').replace(/=+$/, '').slice(0, -1),
    encodeURIComponent(secret),
    createHash('md5').update(secret).digest('hex'),
  ];
}

/** Where a secret could have been written to: a name, and what is there as one text. */
export type Places = Map<string, string>;

/** `NAME in PLACE` for every secret that shows somewhere, in any of its disguises. */
export function secretsIn(places: Places, secrets: Readonly<Record<string, string>>): string[] {
  const forms = Object.entries(secrets).flatMap(([name, secret]) =>
    disguises(secret).map((form) => [name, form] as const),
  );
  return [...places].flatMap(([place, text]) =>
    forms.filter(([, form]) => text.includes(form)).map(([name]) => `${name} in ${place}`),
  );
}

/** Every file below a folder; those that their server removes meanwhile are left out. */
export function addFiles(places: Places, name: string, folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    try {
      places.set(`${name} ${path}`, readFileSync(path, 'latin1'));
    } catch (error) {
      if ((error as { code?: string }).code !== 'ENOENT') throw error;
    }
  }
}

export interface AnswersOf {
  readonly apiPort: number;
  readonly token: string;
  /** Fields of every request, whichever of them it reads. */
  readonly ids: Readonly<Record<string, unknown>>;
}

/** Asks one thing of the API and keeps the answer, headers and all. */
export async function addAnswer(
  places: Places,
  { apiPort, token }: AnswersOf,
  method: string,
  path: string,
  body?: object,
): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${apiPort}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  const head = JSON.stringify([...response.headers]);
  places.set(`${method} ${path}`, head + (await response.text()));
}

/** The answer of every call that reads. */
export async function addAnswers(places: Places, api: AnswersOf): Promise<void> {
  await addAnswer(places, api, 'GET', '/api/v1/openapi');
  const described = places.get('GET /api/v1/openapi') as string;
  const paths = described.matchAll(/"(\/[\w/]*\/(?:get|list|search|status|check)[a-z_]*)":/g);
  const reads = [...new Set([...paths].map(([, path]) => path as string))];
  if (reads.length < 20) throw new Error(`the API describes ${reads.length} reading calls only`);
  for (const path of reads) {
    const configTypes = ['sync', 'reset_connection'];
    await addAnswer(places, api, 'POST', path, { ...api.ids, configTypes });
  }
  for (const path of ['/metrics', '/subjects', '/health/ready']) {
    await addAnswer(places, api, 'GET', path);
  }
  for (const list of ['sources', 'destinations', 'connections', 'jobs', 'workspaces']) {
    await addAnswer(places, api, 'GET', `/api/public/v1/${list}?limit=100`);
  }
}
