/** `zstack-run doctor [COMMAND]`: checks of the machine, and of a command. */
import type { Command } from 'commander';
import { addOptions } from '../cli.js';
import { machineChecks } from '../doctor/machine.js';
import { colours, print, printable } from '../output.js';
import { inspect, type Finding } from '../target/inspect.js';
import { findCommand } from '../target/lookup.js';
import type { Register } from './index.js';

export const register: Register = (program, context) => {
  addOptions(program, ['engine', 'config', 'profile'])
    .argument('[command]', 'a program to look at as well')
    .option('--json', 'as JSON')
    .action(async (target: string | undefined, flags: { json?: boolean }, command: Command) => {
      const { options } = await context(command).resolve();
      const groups: [string, Finding[]][] = [['machine', await machineChecks(options.engine)]];
      if (target !== undefined)
        groups.push([target, inspect(findCommand(target, process.env['PATH']), process.env['PATH'], true, true)]);
      const all = groups.flatMap(([, checks]) => checks);
      print(flags.json === true ? JSON.stringify(report(groups), null, 2) : doctorText(groups));
      context(command).exit(all.some(({ status }) => status === 'fail') ? 1 : 0);
    });
};

/** The report for machines: an object with a list of `{name, status, evidence, remedy}` per subject. */
export function report(groups: readonly [string, readonly Finding[]][]): unknown {
  return {
    ok: groups.every(([, checks]) => checks.every(({ status }) => status !== 'fail')),
    checks: groups.flatMap(([subject, checks]) =>
      checks.map(({ name, status, evidence, remedy }) => ({ subject, name, status, evidence, remedy })),
    ),
  };
}

function doctorText(groups: readonly [string, readonly Finding[]][]): string {
  const { green, yellow, red, bold, dim } = colours(1);
  const marks = { ok: green('ok  '), warn: yellow('warn'), fail: red('FAIL') };
  const lines: string[] = [];
  for (const [subject, checks] of groups) {
    lines.push(bold(printable(subject)));
    for (const { name, status, evidence, remedy } of checks) {
      lines.push(`  ${marks[status]}  ${name.padEnd(18)} ${printable(evidence)}`);
      if (remedy !== '' && status !== 'ok') lines.push(`        ${' '.repeat(18)} ${dim(`-> ${printable(remedy)}`)}`);
    }
  }
  return lines.join('\n');
}
