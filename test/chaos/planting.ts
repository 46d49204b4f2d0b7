import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { PLANTED_BUGS } from './planted-bugs.ts';

/**
 * Loaded before the program (`node --import`), it makes the program wrong in the way that
 * PLANTED_BUG names while its files are read. Nothing of this is in the program itself, so no setting
 * can bring a bug into a build that runs without the test folder.
 */
const root = fileURLToPath(new URL('../../', import.meta.url));
const bug = PLANTED_BUGS.find(({ name }) => name === process.env['PLANTED_BUG']);
if (bug === undefined) throw new Error('PLANTED_BUG does not name a planted bug');

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const path = url.startsWith('file:') ? fileURLToPath(url) : '';
    const edits = bug.edits.filter(({ file }) => path === root + file);
    if (edits.length === 0) return loaded;
    let source = String(loaded.source);
    for (const { right, wrong } of edits) source = source.replace(right, () => wrong);
    process.stderr.write(`planted: ${bug.name}, in ${path.slice(root.length)}\n`);
    return { ...loaded, source };
  },
});
