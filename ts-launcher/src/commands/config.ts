/** `zstack-run config show [--origin] [--json]`. */
import type { Command } from 'commander';
import { OPTION_NAMES, spec } from '../options/table.js';
import { print } from '../output.js';
import { nested, type Register } from './index.js';

export const register: Register = (program, context) => {
  nested(program, 'show', 'the value of every option', OPTION_NAMES)
    .option('--origin', 'also where each value comes from')
    .option('--json', 'as JSON')
    .option('--markdown', 'the options as a table for the documentation')
    .action(async (flags: { origin?: boolean; json?: boolean; markdown?: boolean }, command: Command) => {
      if (flags.markdown === true) {
        const { markdownTable } = await import('../options/document.js');
        print(markdownTable());
        return;
      }
      const { options, origins, file } = await context(command).resolve();
      if (flags.json === true) {
        const entries = OPTION_NAMES.map((name) => [
          spec(name).toml ?? name,
          { value: options[name] ?? null, origin: origins[name].kind, where: origins[name].where },
        ]);
        print(JSON.stringify({ file: file ?? null, options: Object.fromEntries(entries) }, null, 2));
        return;
      }
      const { plainTable } = await import('./format.js');
      const rows = OPTION_NAMES.map((name) => {
        const value = options[name];
        const shown =
          value === undefined ? '-' : Array.isArray(value) ? (value as string[]).join(' ') || '-' : String(value);
        const { kind, where } = origins[name];
        return [
          spec(name).toml ?? name,
          shown,
          ...(flags.origin === true ? [where === '' ? kind : `${kind}: ${where}`] : []),
        ];
      });
      print(plainTable(['option', 'value', ...(flags.origin === true ? ['origin'] : [])], rows));
    });
};
