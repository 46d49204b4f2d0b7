import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { PipelineError } from '../errors/pipeline-error.ts';

const IV_BYTES = 12;
const TAG_BYTES = 16;

type Config = Record<string, unknown>;

/**
 * Connector configurations as they lie in the store: plain JSON, or `{"sealed": "<base64>"}` under
 * AES-256-GCM when there is a key (invariant 8). Reads both, so that a key can be added later.
 */
export class Sealer {
  private readonly key: Buffer | null;

  /** The passphrase of HEADRACE_SECRET_KEY, or null for no encryption. */
  constructor(passphrase: string | null) {
    this.key = passphrase === null ? null : createHash('sha256').update(passphrase).digest();
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
    const sealed = stored['sealed'];
    if (typeof sealed !== 'string' || Object.keys(stored).length !== 1) return stored;
    const bytes = Buffer.from(sealed, 'base64');
    if (this.key === null) {
      throw new PipelineError('CFG_SECRET_KEY', 'the store is encrypted and no key is set');
    }
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.key, bytes.subarray(0, IV_BYTES));
      decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
      const body = bytes.subarray(IV_BYTES + TAG_BYTES);
      const plain = Buffer.concat([decipher.update(body), decipher.final()]);
      return JSON.parse(plain.toString('utf8')) as Config;
    } catch (error) {
      throw new PipelineError('CFG_SECRET_KEY', 'the store was encrypted with another key', {
        cause: error,
      });
    }
  }
}
