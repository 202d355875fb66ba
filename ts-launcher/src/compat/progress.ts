// SPDX-License-Identifier: BSD-3-Clause
/** What a run shows while it goes on: a list that is drawn anew on a terminal, else one line per cell. */
import { Listr } from 'listr2';
import { colours, note } from '../output.js';
import { cellId, type Cell, type Plan } from './plan.js';
import type { Result } from './run.js';

/** Runs what `run` is given of the plan, in portions, and tells of each. */
export interface Shown {
  began(cell: Cell): void;
  ended(result: Result): void;
}

/** One line about a cell. */
export function cellText({ status, reason, milliseconds, ...cell }: Result): string {
  const { green, red } = colours(2);
  const mark = status === 'pass' ? green('pass') : red('FAIL');
  const time = `${(milliseconds / 1000).toFixed(1)} s`;
  return `${mark} ${cellId(cell)} (${time})${reason === '' ? '' : `: ${reason.slice(0, 500)}`}`;
}

/** For a pipe or a file. */
export function linesShown(quiet: boolean): Shown {
  return { began: () => undefined, ended: (result) => (quiet ? undefined : note(cellText(result))) };
}

/**
 * For a terminal: a row per program.
 * @param portion runs the cells of a program, telling `shown`, and gives the number of those that failed
 */
export async function onTerminal(
  plan: Plan,
  portion: (program: string, shown: Shown) => Promise<number>,
): Promise<void> {
  const programs = [...new Set(plan.cells.map(({ each }) => each.program))];
  const list = new Listr(
    programs.map((program) => ({
      title: program,
      task: async (_context, task) => {
        const total = plan.cells.filter(({ each }) => each.program === program).length;
        let done = 0;
        const failed = await portion(program, {
          began: (cell) => (task.output = cellId(cell)),
          ended: (result) => {
            task.title = `${program} ${++done}/${total}`;
            if (result.status === 'fail') task.output = cellText(result);
          },
        });
        if (failed > 0) throw new Error(`${program}: ${failed} of ${total} cells failed`);
      },
    })),
    { concurrent: false, exitOnError: false, rendererOptions: { collapseErrors: false } },
  );
  await list.run();
}
