import type { FastifyInstance, FastifyReply } from 'fastify';

/** Registered schemas, as the Kafka-backed registry knows them. */
export interface RegistryReader {
  subjects(): string[];
  /** Oldest first; empty for an unknown subject. */
  versions(subject: string): { version: number; id: number; schema: string }[];
  byId(id: number): string | undefined;
  /** Resolves when everything that was registered before the call has been read. */
  ready(): Promise<void>;
}

/** Confluent's error codes; its clients tell the cases apart by them. */
const NO_SUBJECT = 40401;
const NO_VERSION = 40402;
const NO_SCHEMA = 40403;
const BAD_VERSION = 42202;

const LATEST = 'latest';

/** Confluent's REST interface, reading only: schemas come from the sources alone. */
export function addRegistryRoutes(app: FastifyInstance, registry: RegistryReader): void {
  const route = (
    path: string,
    answer: (params: Record<string, string>, reply: FastifyReply) => unknown,
  ): void => {
    app.get(path, async (request, reply) => {
      await registry.ready();
      return await answer(request.params as Record<string, string>, reply);
    });
  };
  route('/subjects', () => registry.subjects().toSorted());
  route('/schemas/types', () => ['AVRO']);
  route('/config', () => ({ compatibilityLevel: 'BACKWARD' }));
  route('/schemas/ids/:id', ({ id = '' }, reply) => {
    const schema = registry.byId(Number(id));
    return schema === undefined ? refuse(reply, 404, NO_SCHEMA, 'Schema not found') : { schema };
  });
  route('/subjects/:subject/versions', ({ subject = '' }, reply) => {
    const versions = registry.versions(subject);
    return versions.length === 0
      ? refuse(reply, 404, NO_SUBJECT, `Subject '${subject}' not found.`)
      : versions.map((each) => each.version);
  });
  route('/subjects/:subject/versions/:version', ({ subject = '', version = '' }, reply) =>
    answerVersion(registry, reply, subject, version),
  );
}

function answerVersion(
  registry: RegistryReader,
  reply: FastifyReply,
  subject: string,
  version: string,
): unknown {
  const versions = registry.versions(subject);
  if (versions.length === 0) {
    return refuse(reply, 404, NO_SUBJECT, `Subject '${subject}' not found.`);
  }
  if (version !== LATEST && !/^[1-9]\d*$/.test(version)) {
    return refuse(reply, 422, BAD_VERSION, `The specified version '${version}' is not valid.`);
  }
  const found =
    version === LATEST
      ? versions.at(-1)
      : versions.find((each) => each.version === Number(version));
  if (found === undefined) return refuse(reply, 404, NO_VERSION, `Version ${version} not found.`);
  return { subject, version: found.version, id: found.id, schema: found.schema };
}

function refuse(reply: FastifyReply, status: number, errorCode: number, message: string): unknown {
  return reply.code(status).send({ error_code: errorCode, message });
}
