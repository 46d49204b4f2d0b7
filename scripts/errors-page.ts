import { ERROR_CODES, type ErrorSpec } from '../core/errors/codes.ts';

/** What a prefix of the codes is about, in the order of the page. */
const FAMILIES: Readonly<Record<string, string>> = {
  CFG: 'Settings and connector configurations',
  SRC: 'Sources',
  EVT: 'Change events',
  SCH: 'Schemas and their registry',
  TOP: 'Topics',
  KAFKA: 'Kafka',
  DST: 'Destinations',
  SNK: 'Delivery',
  JOB: 'Jobs',
  API: 'The API',
  STORE: 'The store of the control plane',
  STACK: 'The local stack',
  BUG: 'Defects',
};

const INTRODUCTION = `# Errors

Every failure has a code. It stands in the log line, in the job's \`failureSummary\`, in
\`connections/status\` and in the API's answer; the sentence below it says what to do. The *reaction* is what
Headrace does by itself:

- **retry**: it backs off and goes on; nothing is lost and nobody is needed unless it lasts.
- **resync**: the stream needs a new snapshot before it can go on without a gap.
- **hold**: the stream waits for a person; the connection's other streams go on.
- **stop**: the process that met it must not go on.

This page is written from \`core/errors/codes.ts\` by \`npm run docs:errors\`.
`;

/** The text of docs/errors.md. */
export function errorsPage(): string {
  const sections = familiesInOrder().map((family) => {
    const title = `## ${FAMILIES[family] ?? family}\n`;
    return [title, ...codesOf(family).map(([code, spec]) => section(code, spec))].join('\n');
  });
  return `${[INTRODUCTION, ...sections].join('\n')}`;
}

function familyOf(code: string): string {
  return code.split('_')[0] ?? code;
}

function codesOf(family: string): [string, ErrorSpec][] {
  return Object.entries<ErrorSpec>(ERROR_CODES).filter(([code]) => familyOf(code) === family);
}

function familiesInOrder(): string[] {
  const used = new Set(Object.keys(ERROR_CODES).map(familyOf));
  const known = Object.keys(FAMILIES).filter((family) => used.has(family));
  return [...known, ...[...used].filter((family) => !known.includes(family))];
}

function section(code: string, spec: ErrorSpec): string {
  const facts = `Reaction **${spec.reaction}**, origin \`${spec.origin}\`, type \`${spec.type}\`, HTTP ${spec.http}.`;
  return `### ${code}\n\n${spec.fix}\n\n${facts}\n`;
}
