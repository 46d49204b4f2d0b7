import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { Destination } from '../../spi/destination.ts';
import { openAppendedFiles } from './appended-files.ts';
import { check } from './check.ts';
import { dataKey, fileMark, ownerMark } from './object-key.ts';
import { openStore } from './open-store.ts';
import { readSettings } from './settings.ts';
import { spec } from './spec.ts';
import { S3Writer } from './writer.ts';

/** Parquet files on S3 and stores that speak its protocol; one row per change, one per key, or a copy. */
export const destination: Destination = {
  spec,
  check,

  validateStream(config, stream) {
    const label = streamLabel(stream.stream);
    if (stream.mode === 'append_dedup' && stream.primaryKey.length === 0) {
      throw new PipelineError(
        'CFG_INVALID_CONNECTOR',
        `stream ${label}: append_dedup needs a primary key; choose one, or append`,
        { details: { stream: label } },
      );
    }
    // The longest key that the stream can get is refused here, not at its first file.
    const target = { stream, topic: label, partition: 99_999 };
    const range = { id: '0'.repeat(36), first: 0, end: 0, createdAt: 0 };
    dataKey(
      readSettings(config),
      target,
      fileMark(ownerMark('', target), 99_999),
      range,
      'dt=1970-01-01/hour=00/',
    );
  },

  open(options) {
    const settings = readSettings(options.config);
    return S3Writer.open(options, settings, openStore(settings, options.signal));
  },
  openAppended: openAppendedFiles,
  replays: true,

  replayProblem(mode, rebuild) {
    if (mode !== 'append' || rebuild) return null;
    return 'appended files hold each record once already, so that there is nothing to deliver again in place: order it with rebuild (--rebuild), which writes them anew beside what is there';
  },
};
