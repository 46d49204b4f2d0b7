import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { PipelineError } from '../errors/pipeline-error.ts';

const IV_BYTES = 12;
const TAG_BYTES = 16;

type Config = Record<string, unknown>;

/**
 * Connector configurations as they lie in the store: plain JSON, or `{"sealed": "<base64>"}` under
 * AES-256-GCM when there is a key (invariant 8). Reads both, so that a key can be added later, and
 * what an earlier key has sealed, so that a key can be changed.
 */
export class Sealer {
  private readonly key: Buffer | null;
  private readonly previousKey: Buffer | null;

  /** The passphrases of HEADRACE_SECRET_KEY, or null for no encryption, and of the key before it. */
  constructor(passphrase: string | null, previous: string | null = null) {
    this.key = keyOf(passphrase);
    this.previousKey = keyOf(previous);
  }

  /** JSON text for the column. */
  seal(config: Config): string {
    const plain = JSON.stringify(config);
    if (this.key === null) return plain;
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.key, iv);
    const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
    const sealed = Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64');
    return JSON.stringify({ sealed });
  }

  /** Throws CFG_SECRET_KEY when the key is missing or another one. */
  open(stored: Config): Config {
    const bytes = sealedBytes(stored);
    if (bytes === null) return stored;
    const keys = [this.key, this.previousKey].filter((key) => key !== null);
    if (keys.length === 0) {
      throw new PipelineError('CFG_SECRET_KEY', 'the store is encrypted and no key is set');
    }
    for (const key of keys) {
      const opened = openWith(key, bytes);
      if (opened !== null) return opened;
    }
    throw new PipelineError('CFG_SECRET_KEY', 'the store was encrypted with another key');
  }

  /** Whether it lies there as `seal` would write it now. */
  isSealedNow(stored: Config): boolean {
    const bytes = sealedBytes(stored);
    if (bytes === null || this.key === null) return bytes === null && this.key === null;
    return openWith(this.key, bytes) !== null;
  }
}

function keyOf(passphrase: string | null): Buffer | null {
  return passphrase === null ? null : createHash('sha256').update(passphrase).digest();
}

/** Null for plain JSON. */
function sealedBytes(stored: Config): Buffer | null {
  const sealed = stored['sealed'];
  if (typeof sealed !== 'string' || Object.keys(stored).length !== 1) return null;
  return Buffer.from(sealed, 'base64');
}

/** Null when it was sealed with another key. */
function openWith(key: Buffer, bytes: Buffer): Config | null {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES));
    decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
    const body = bytes.subarray(IV_BYTES + TAG_BYTES);
    const plain = Buffer.concat([decipher.update(body), decipher.final()]);
    return JSON.parse(plain.toString('utf8')) as Config;
  } catch {
    return null;
  }
}
