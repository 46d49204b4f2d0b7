import { describe, expect, it } from 'vitest';
import {
  columnNameOf,
  freeName,
  hashedTableName,
  nestedTableName,
  shortened,
  standardName,
} from '../../../../schemas/normalize/names.ts';

const LONG_PARENT = 'The parent stream has a nested column with a';

describe('names of tables', () => {
  it.each([
    [['parent', 'child'], 'parent_child'],
    [[LONG_PARENT, 'short_substream_name'], 'the_parent_stream_ha___short_substream_name'],
    [
      [LONG_PARENT, 'substream with a rather long name'],
      'the_parent_stream_ha__th_a_rather_long_name',
    ],
  ])('nested %j is %s', (path, name) => {
    expect(nestedTableName(path)).toBe(name);
  });

  it.each([
    ['schema', ['parent', 'child'], 'parent_30c_child'],
    [
      'schema',
      [LONG_PARENT, 'short_substream_name'],
      'the_parent_stream__cd9_short_substream_name',
    ],
    [
      'schema',
      [LONG_PARENT, 'substream with a rather long name'],
      'the_parent_0a5_substream_wi__her_long_name',
    ],
    ['namespace', ['simple', 'stream_name'], 'simple_b94_stream_name'],
    ['namespace', ['simple stream name'], 'simple_stream_name_f35'],
    [
      'schema_test',
      ['postgres_has_a_64_characters_limit_to_table_names_but_other_destinations_are_fine'],
      'postgres_has_a_64_ch__inations_are_fine_e5a',
    ],
  ])('hashed in %s, %j is %s', (schema, path, name) => {
    expect(hashedTableName(schema, path)).toBe(name);
  });

  it('shortens to 43 characters, the ends kept', () => {
    expect(standardName('adcreatives_object_story_spec_link_data_app_link_spec')).toBe(
      'adcreatives_object_s__nk_data_app_link_spec',
    );
    expect(shortened('Aaaa_Bbbb_Cccc_Dddd_Eeee_Ffff_Gggg_Hhhh_Iiii')).toBe(
      'Aaaa_Bbbb_Cccc_Dddd___e_Ffff_Gggg_Hhhh_Iiii',
    );
    expect(shortened('ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz_0123456789')).toBe(
      'ABCDEFGHIJKLMNOPQRST__qrstuvwxyz_0123456789',
    );
  });
});

describe('names of columns', () => {
  it.each([
    [['contact', 'email'], 'contact_email'],
    [['Name'], 'name'],
    [['user'], 'user'],
    [['Order'], 'Order'],
    [['2nd'], '2nd'],
    [['E-Mail Address'], 'E-Mail Address'],
    [[''], '_'],
    [['a\0b'], 'a_b'],
  ])('%j is %s', (path, name) => {
    expect(columnNameOf(path)).toBe(name);
  });

  it('stay within what Postgres keeps, and whole letters', () => {
    const name = columnNameOf(['ключ'.repeat(30)]);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
    expect(name.isWellFormed()).toBe(true);
  });

  it('get numbers where case alone tells them apart', () => {
    const taken = new Set(['name', 'name_1']);
    expect(freeName('Name', (name) => taken.has(name))).toBe('Name_2');
  });
});
