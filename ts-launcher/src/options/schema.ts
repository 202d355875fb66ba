/** zod schemas made of the options table, for values that come typed: those of a configuration file. */
import * as z from 'zod';
import { formOf, OPTION_NAMES, spec, type ValueType } from './table.js';

/** The schema of one value; the message of every failure is the expected form. */
export function schemaOf(type: ValueType): z.ZodType {
  const error = `expected ${formOf(type)}`;
  switch (type.kind) {
    case 'flag':
      return z.boolean({ error });
    case 'integer':
      return z.int({ error }).min(type.min, { error }).max(type.max, { error });
    case 'choice':
      return z.enum(type.values as [string, ...string[]], { error });
    case 'text':
      return z.string({ error }).regex(type.pattern, { error });
    case 'list':
      return z.array(z.string({ error: 'expected a list of strings' }), { error: 'expected a list of strings' });
  }
}

/** The keys of a configuration file, each optional; an unknown key fails. */
function keysSchema(): Record<string, z.ZodType> {
  const keys: Record<string, z.ZodType> = {};
  for (const name of OPTION_NAMES) {
    const { toml, type } = spec(name);
    if (toml !== undefined) keys[toml] = schemaOf(type).optional();
  }
  return keys;
}

/** The schema of a whole configuration file: keys, and the same keys in `[profiles.NAME]`. */
export function fileSchema(): z.ZodType {
  const keys = keysSchema();
  return z.strictObject({
    ...keys,
    profiles: z.record(z.string(), z.strictObject(keys, { error: strictError })).optional(),
  });
}

const strictError = (issue: { code?: string }): string | undefined =>
  issue.code === 'invalid_type' ? 'expected a table, [profiles.NAME]' : undefined;
