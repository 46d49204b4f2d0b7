/** Amounts as Kubernetes, and with it Airbyte, writes them. */

const BYTES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Bytes of `512Mi`, `1Gi`, `1.5G` or `1048576`; null for what is no amount of memory. */
export function memoryBytes(text: string): number | null {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?$/.exec(text) ?? [];
  const bytes = Math.round(Number(number) * (BYTES[unit] ?? Number.NaN));
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null;
}

/** Cores of `0.25`, `1` or `250m`; null for what is no amount of processors. */
export function cpuCores(text: string): number | null {
  const [, number, thousandths] = /^(\d+(?:\.\d+)?)(m)?$/.exec(text) ?? [];
  const cores = Number(number) / (thousandths === undefined ? 1 : 1000);
  return Number.isFinite(cores) && cores > 0 ? cores : null;
}
