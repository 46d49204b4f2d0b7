/** What two JSON schemas of a stream differ in, in the shape of Airbyte's catalogDiff. */

export type JsonType = Readonly<Record<string, unknown>>;

/** Airbyte's FieldTransform. */
export interface FieldTransform {
  readonly transformType: 'add_field' | 'remove_field' | 'update_field_schema';
  readonly fieldName: readonly string[];
  /** The connection cannot go on with it as it is configured. */
  readonly breaking: boolean;
  readonly addField?: { readonly schema: JsonType };
  readonly removeField?: { readonly schema: JsonType };
  readonly updateFieldSchema?: { readonly oldSchema: JsonType; readonly newSchema: JsonType };
}

/** Properties by name; null when the schema has none to compare with. */
export function propertiesOf(jsonSchema: JsonType | undefined): Record<string, JsonType> | null {
  const properties = jsonSchema?.['properties'];
  const isMapping = typeof properties === 'object' && properties !== null;
  return isMapping && Object.keys(properties).length > 0
    ? (properties as Record<string, JsonType>)
    : null;
}

/** Fields that are no columns of the source: Airbyte's own, which its catalogs list with them. */
const OWN_FIELD = /^_(ab_cdc|airbyte)_/;

/** In the order of `next`, removed fields behind. To lose one of the `needed` ones (key, cursor) is
 * breaking. */
export function fieldTransforms(
  old: Readonly<Record<string, JsonType>>,
  next: Readonly<Record<string, JsonType>>,
  needed: readonly string[],
): FieldTransform[] {
  const transforms: FieldTransform[] = [];
  for (const [name, schema] of Object.entries(next)) {
    const before = Object.hasOwn(old, name) ? old[name] : undefined;
    const common = { fieldName: [name], breaking: false };
    if (before === undefined) {
      transforms.push({ transformType: 'add_field', ...common, addField: { schema } });
    } else if (!isSameType(before, schema)) {
      const updateFieldSchema = { oldSchema: before, newSchema: schema };
      transforms.push({ transformType: 'update_field_schema', ...common, updateFieldSchema });
    }
  }
  for (const [name, schema] of Object.entries(old)) {
    if (Object.hasOwn(next, name) || OWN_FIELD.test(name)) continue;
    const breaking = needed.includes(name);
    const fieldName = [name];
    transforms.push({
      transformType: 'remove_field',
      fieldName,
      breaking,
      removeField: { schema },
    });
  }
  return transforms;
}

/** The properties with the transforms carried out. */
export function transformed(
  properties: Readonly<Record<string, JsonType>>,
  transforms: readonly FieldTransform[],
): Record<string, JsonType> {
  // A column may be called __proto__.
  const next = new Map(Object.entries(properties));
  for (const { fieldName, addField, updateFieldSchema } of transforms) {
    const name = fieldName[0] as string;
    const schema = addField?.schema ?? updateFieldSchema?.newSchema;
    if (schema === undefined) next.delete(name);
    else next.set(name, schema);
  }
  return Object.fromEntries(next);
}

/** One of them for people: `column "note" was added (string)`. */
export function describeTransform({
  fieldName,
  addField,
  updateFieldSchema: update,
}: FieldTransform): string {
  const column = `column "${fieldName.join('.')}"`;
  if (addField !== undefined) return `${column} was added (${typeName(addField.schema)})`;
  if (update === undefined) return `${column} was removed`;
  return `${column} changed from ${typeName(update.oldSchema)} to ${typeName(update.newSchema)}`;
}

/** Clients write the same type in more than one way: with and without "null", as `integer` or as a
 * number that is one, with and without the format. */
function isSameType(a: JsonType, b: JsonType): boolean {
  return (
    typesOf(a) === typesOf(b) &&
    ['format', 'airbyte_type'].every((word) => isSameWhereGiven(a[word], b[word]))
  );
}

function isSameWhereGiven(a: unknown, b: unknown): boolean {
  return a === undefined || b === undefined || a === b;
}

function typesOf({ type }: JsonType): string {
  const types = [type].flat().filter((each) => each !== 'null');
  return types
    .map((each) => (each === 'integer' ? 'number' : String(each)))
    .toSorted()
    .join();
}

function typeName(schema: JsonType): string {
  const { format, airbyte_type: own } = schema as { format?: unknown; airbyte_type?: unknown };
  return String(own ?? format ?? typesOf(schema));
}
