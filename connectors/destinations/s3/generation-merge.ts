import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { fileLayout } from './file-layout.ts';
import type { Spool } from './spool.ts';
import type { FileColumn } from './file-columns.ts';
import type { Generation, GenerationContent, GenerationFile } from './generation-chain.ts';
import type { Draft, GenerationStore } from './generation-store.ts';
import { SLOTS } from './hash-slots.ts';
import type { Merged } from './key-merge.ts';
import type { KeyedContent } from './keyed-spool.ts';
import type { WriterContext } from './range-delivery.ts';
import type { StreamFields } from './stream-fields.ts';

/** Changes that are on their way into a generation. */
export interface SealedChanges {
  readonly spool: Spool;
  readonly columns: readonly FileColumn[];
  readonly offsets: Generation['offsets'];
  /** What the changes come on top of; null for nothing. */
  readonly base: Generation | null;
  /** The replay that these changes end. */
  readonly replay?: string | undefined;
  /** Set when all its files are uploaded; an attempt that failed then goes on from there. */
  generation: Generation | null;
}

/** Published files that are replaced together, and the slots they hold. */
interface Stretch {
  readonly files: GenerationFile[];
  readonly firstSlot: number;
  readonly endSlot: number;
}

type Source = Merged['source'];

/** Makes generations of changes: only files that a change touches are written anew. */
export class GenerationMerge {
  private readonly store: GenerationStore;
  private readonly context: WriterContext;
  private readonly fields: StreamFields;

  constructor(store: GenerationStore, context: WriterContext, fields: StreamFields) {
    this.store = store;
    this.context = context;
    this.fields = fields;
  }

  async run(sealed: SealedChanges): Promise<void> {
    await this.store.switchTo(await this.prepare(sealed));
  }

  /** What `run` would switch to: a generation that nobody sees, for others to be built on. */
  async prepare(sealed: SealedChanges): Promise<Generation> {
    return (sealed.generation ??= this.store.next(await this.build(sealed)));
  }

  private async build(sealed: SealedChanges): Promise<GenerationContent> {
    const { spool, offsets, base: before, replay } = sealed;
    const content = await this.context.encoder.sealKeyed(spool);
    this.fields.add(content.fields);
    const columns = this.fields.widen(sealed.columns);
    const wide = { ...sealed, columns };
    const draft = this.store.draft();
    const isWider = before !== null && columns.length > before.columns.length;
    const files: GenerationFile[] = [];
    let source: Source = null;
    const all = before === null || content.truncated || isWider;
    for (const part of this.stretches(covering(before?.files ?? []), content, all)) {
      if ('key' in part) {
        files.push(part);
        continue;
      }
      const merged = await this.mergeStretch(wide, part, draft);
      files.push(...merged.files);
      source = span(source, merged.source);
    }
    if (files.length === 0) files.push(...(await this.emptyFile(wide, draft)));
    return { id: draft.id, offsets, source, columns, files, replay };
  }

  /** The published files in the order of their slots: those to keep, and stretches to write anew.
   * Neighbours that are both touched, and small, become one. */
  private stretches(
    files: readonly GenerationFile[],
    { slotBytes }: KeyedContent,
    all: boolean,
  ): (GenerationFile | Stretch)[] {
    if (files.length === 0) return [{ files: [], firstSlot: 0, endSlot: SLOTS }];
    const { rotateBytes } = this.context.settings;
    const parts: (GenerationFile | Stretch)[] = [];
    let open: { files: GenerationFile[]; firstSlot: number; endSlot: number } | null = null;
    let bytes = 0;
    for (const file of files) {
      const touched = slotBytes.subarray(file.firstSlot, file.endSlot).some((each) => each > 0);
      if (!touched && !all) {
        open = null;
        parts.push(file);
        continue;
      }
      if (open === null || bytes + file.bytes > rotateBytes) {
        open = { files: [], firstSlot: file.firstSlot, endSlot: file.endSlot };
        bytes = 0;
        parts.push(open);
      }
      open.files.push(file);
      open.endSlot = file.endSlot;
      bytes += file.bytes;
    }
    return parts;
  }

  private async mergeStretch(
    { spool, columns }: SealedChanges,
    { files, firstSlot, endSlot }: Stretch,
    draft: Draft,
  ): Promise<{ files: GenerationFile[]; source: Source }> {
    const { settings, encoder } = this.context;
    const local: string[] = [];
    try {
      for (const file of files) local.push(await this.fetch(file));
      const published = [...local];
      const merged = await encoder.merge(spool, {
        path: this.scratchPath(),
        layout: fileLayout(columns, settings),
        firstSlot,
        endSlot,
        targetBytes: settings.rotateBytes,
        published,
        keepEmpty: firstSlot === SLOTS,
      });
      local.push(...merged.files.map(({ path }) => path));
      const uploaded: GenerationFile[] = [];
      for (const file of merged.files) uploaded.push(await this.store.upload(draft, file));
      return { files: uploaded, source: merged.source };
    } finally {
      for (const path of local) await rm(path, { force: true });
    }
  }

  /** A stream without rows is a file without rows: readers find the columns there. */
  private async emptyFile(sealed: SealedChanges, draft: Draft): Promise<GenerationFile[]> {
    const none = { files: [], firstSlot: SLOTS, endSlot: SLOTS };
    const { files } = await this.mergeStretch(sealed, none, draft);
    return files.map((file) => ({ ...file, firstSlot: 0, endSlot: SLOTS }));
  }

  private async fetch({ key }: GenerationFile): Promise<string> {
    const path = this.scratchPath();
    if (await this.context.store.download(key, path)) return path;
    throw new PipelineError('DST_STATE_LOST', `the file ${key} was removed from the bucket`, {
      details: { key },
    });
  }

  private scratchPath(): string {
    return join(this.context.spoolFolder, randomUUID());
  }
}

/** Slots whose keys are all gone have no file: the next one's takes them over, for new keys of theirs
 * must find a place. */
function covering(files: readonly GenerationFile[]): GenerationFile[] {
  let end = 0;
  return files.map((file, index) => {
    const firstSlot = end;
    end = index === files.length - 1 ? SLOTS : file.endSlot;
    return { ...file, firstSlot, endSlot: end };
  });
}

function span(a: Source, b: Source): Source {
  if (a === null || b === null) return a ?? b;
  return { first: earlier(a.first, b.first, -1), last: earlier(a.last, b.last, 1) };
}

type Place = NonNullable<Source>['first'];

/** The earlier of two positions for -1, the later for 1. */
function earlier(a: Place, b: Place, sign: number): Place {
  const [x, y] = [BigInt(a.lsn), BigInt(b.lsn)];
  const order = a.epoch - b.epoch || (x < y ? -1 : x > y ? 1 : a.seq - b.seq);
  return order * sign > 0 ? a : b;
}
