import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { metricsRegistry } from '../../../core/observe/metrics.ts';
import { ROOT } from '../house/source-files.ts';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: { readonly summary: string; readonly action: string };
}

interface Dashboard {
  readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[];
}

const rules = (
  parse(readFileSync(join(ROOT, 'deploy/alerts/headrace.yml'), 'utf8')) as {
    groups: { rules: Rule[] }[];
  }
).groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(
  readFileSync(join(ROOT, 'deploy/dashboards/headrace.json'), 'utf8'),
) as Dashboard;
const panelExpressions = dashboard.panels.flatMap((panel) => panel.targets).map((t) => t.expr);
const expressions = [...rules.map((rule) => rule.expr), ...panelExpressions];

/** Names as they are exposed: a histogram's come with a suffix. */
async function exposedNames(): Promise<Set<string>> {
  const metrics = await metricsRegistry.getMetricsAsJSON();
  return new Set(
    metrics.flatMap(({ name, type }) =>
      String(type) === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ),
  );
}

const namesIn = (expr: string): string[] => expr.match(/\bheadrace_\w+/g) ?? [];

describe('dashboard and alert rules', () => {
  test('ask only for metrics that there are', async () => {
    const exposed = await exposedNames();
    const asked = expressions.flatMap(namesIn);
    expect(asked.length).toBeGreaterThan(15);
    expect(asked.filter((name) => !exposed.has(name))).toEqual([]);
  });

  test('the dashboard leaves no metric of the pipeline out', async () => {
    const shown = panelExpressions.flatMap(namesIn);
    const ours = [...(await exposedNames())].filter((name) =>
      /^headrace_.*(?<!_sum|_count)$/.test(name),
    );
    expect(ours.filter((name) => !shown.includes(name))).toEqual([]);
  });

  test('labels that are asked for are labels of the metrics beside them', async () => {
    const known = new Set(['le', 'job', 'instance']);
    for (const metric of metricsRegistry.getMetricsAsArray()) {
      for (const label of (metric as unknown as { labelNames: string[] }).labelNames)
        known.add(label);
    }
    const grouped = expressions.flatMap((expr) => [...expr.matchAll(/by \(([^)]*)\)/g)]);
    const labels = grouped.flatMap((match) => (match[1] ?? '').split(', '));
    const spoken = rules.flatMap(({ annotations }) =>
      [...annotations.summary.matchAll(/\$labels\.(\w+)/g)].map((match) => match[1] ?? ''),
    );
    expect([...labels, ...spoken].filter((label) => !known.has(label))).toEqual([]);
  });

  test('every alert says what to do', () => {
    expect(rules.filter(({ annotations }) => !annotations.action.endsWith('.'))).toEqual([]);
  });
});
