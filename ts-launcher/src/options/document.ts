/** The options as a Markdown table, for the documentation: `zstack-run config show --markdown`. */
import { formOf, OPTION_NAMES, spec } from './table.js';

/** One row per option: flag, variable, key, form, default, text. */
export function markdownTable(): string {
  const rows = OPTION_NAMES.map((name) => {
    const { flag, env, toml, type, text } = spec(name);
    const fallback = spec(name).default;
    const shown =
      fallback === undefined || (Array.isArray(fallback) && fallback.length === 0) ? '' : `\`${String(fallback)}\``;
    const cells = [`\`${flag}\``, env && `\`${env}\``, toml && `\`${toml}\``, formOf(type), shown, text];
    return `| ${cells.map((cell) => cell ?? '').join(' | ')} |`;
  });
  return [
    '| flag | environment | file | form | default | what |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}
