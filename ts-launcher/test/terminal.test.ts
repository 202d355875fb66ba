/** Job control on a real terminal: Ctrl-Z, fg, Ctrl-C, a background job that reads. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { LAUNCHER, Sandbox } from './support.js';
import { ROOT } from '../src/paths.js';

const box = new Sandbox();
afterAll(() => box.remove());

/** Types at an interactive bash; pairs of what is typed and what must appear then. */
function terminal(...steps: string[]): string {
  const script = join(ROOT, 'ts-launcher/test/fake/terminal.py');
  try {
    const options = { env: box.env, cwd: box.directory, encoding: 'utf8', timeout: 60_000 } as const;
    return execFileSync('python3', [script, ...steps], options);
  } catch (error) {
    throw new Error(`the terminal showed: ${String((error as { stdout?: unknown }).stdout)}`, { cause: error });
  }
}

test('Ctrl-Z stops both, fg continues both, Ctrl-C ends the command by SIGINT', () => {
  const run = `${LAUNCHER} --engine ${box.engine('tty')}`;
  // fg tells the job before it hands it the terminal: only a job that says that it was continued can be typed at.
  const job = 'trap "echo contin""ued" CONT; echo beg""un; while :; do sleep 0.2; done';
  terminal(
    ...[`${run} bash -c '${job}'\\r`, 'begun\r'],
    ...['\\x1a', 'Stopped'],
    ...['fg\\r', 'continued\r'],
    ...['\\x03', '\\$ '],
    ...['echo stat""us $?\\r', 'status 130'],
  );
}, 60_000);

test('Ctrl-C reaches a command that handles it once, and its own status counts', () => {
  const run = `${LAUNCHER} --engine ${box.engine('tty')}`;
  const shown = terminal(
    ...[`${run} bash -c 'n=0; trap "((++n))" INT; echo beg""un; sleep 1.5; sleep 0.5; exit $((40 + n))'\\r`, 'begun\r'],
    ...['\\x03', '\\$ '],
    ...['echo stat""us $?\\r', 'status \\d+'],
  );
  expect(/status (\d+)/.exec(shown)?.[1]).toBe('41');
}, 60_000);

test('a background job that reads from the terminal is stopped, as without us', () => {
  const run = `${LAUNCHER} --engine ${box.engine('tty')}`;
  terminal(
    ...[`${run} cat &\\r`, '\\$ '],
    ...['sleep 1; jobs\\r', 'Stopped.*cat'],
    ...['kill %%; fg; echo ov""er\\r', 'over\r'],
  );
}, 60_000);
