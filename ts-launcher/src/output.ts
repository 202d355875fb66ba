/**
 * What the launcher says. Everything goes to stderr with one write per line: stdout belongs to the application.
 *
 * `fs.writeSync` and not `process.stderr`: the stream would switch a pipe that the application shares to non-blocking.
 */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { LauncherError } from './errors.js';

/** Colours are used on a terminal, unless `NO_COLOR` is set and not empty, or `TERM` is `dumb`. */
export function wantsColour(fd: number): boolean {
  const noColour = process.env['NO_COLOR'];
  return (noColour === undefined || noColour === '') && process.env['TERM'] !== 'dumb' && isatty(fd);
}

/** The few colours in use, or the text unchanged. */
export function colours(fd: number): Record<'red' | 'yellow' | 'green' | 'bold' | 'dim', (text: string) => string> {
  const on = wantsColour(fd);
  const sgr = (start: number, end: number) => (text: string) => (on ? `\u001b[${start}m${text}\u001b[${end}m` : text);
  return { red: sgr(31, 39), yellow: sgr(33, 39), green: sgr(32, 39), bold: sgr(1, 22), dim: sgr(2, 22) };
}

/** Text from elsewhere without control characters, so that it cannot drive the terminal or forge a line. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}

/** Writes all of `text` to `fd`; a reader that went away or a full non-blocking pipe is no reason to fail. */
export function writeAll(fd: number, text: string): void {
  let rest = Buffer.from(text);
  for (let attempts = 0; rest.length > 0 && attempts < 2000; attempts++) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** Writes one line to stdout: the result of a subcommand. */
export function print(line: string): void {
  writeAll(1, `${line}\n`);
}

/** Where lines about what goes on are said: on stderr, in tests elsewhere. */
export interface Say {
  note(text: string): void;
  warn(text: string): void;
}

/** A line about what goes on. */
export function note(text: string): void {
  writeAll(2, `zstack-run: ${printable(text)}\n`);
}

/** A line about something that goes on, but not as it should. */
export function warn(text: string): void {
  writeAll(2, `zstack-run: ${colours(2).yellow('warning')}: ${printable(text)}\n`);
}

/** Says it on stderr, or not at all. */
export function sayUnless(quiet: boolean): Say {
  return quiet ? { note: () => undefined, warn: () => undefined } : { note, warn };
}

/** The one line of an error. */
export function printError(error: LauncherError): void {
  const { red, bold } = colours(2);
  const hint = error.hint === '' ? '' : ` - hint: ${printable(error.hint)}`;
  writeAll(2, `zstack-run: ${red(bold(`error[${error.shownCode}]`))}: ${printable(error.what)}${hint}\n`);
}
