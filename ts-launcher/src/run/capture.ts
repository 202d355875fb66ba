/** `--capture` of a command: the engine writes the file from just before the command starts until it ended. */
import { resolve } from 'node:path';
import type { Engine } from '../engine/connect.js';
import { LauncherError, textOf } from '../errors.js';
import type { Options } from '../options/resolve.js';
import { note, warn } from '../output.js';

/** A capture that goes on. */
export interface Capture {
  /** Ends it, and tells what is in the file. Never throws: the command ended already. */
  end(): Promise<void>;
}

/** What the engine answers; left out: `ended`, when it was not ended by us. */
interface Captured {
  readonly packets: number;
  readonly dropped: number;
  readonly ended?: string;
}

/** How long the last megabytes may take to be written, milliseconds. */
const END_MS = 60_000;

/**
 * Begins to capture, where that is asked for.
 * @throws LauncherError ZS1208 there is no engine; ZS1204 with the engine's code: the file cannot be written, or another capture goes on
 */
export async function beginCapture(engine: Engine | undefined, options: Options): Promise<Capture | undefined> {
  const { capture, captureSnaplen, captureMaxSize, quiet } = options;
  if (capture === undefined) return undefined;
  if (engine === undefined)
    throw new LauncherError(
      'ZS1208',
      'without an engine nothing can be captured',
      'leave out --capture or --fallback kernel',
    );
  const file = resolve(capture);
  await engine.client.request('capture', { file, snaplen: captureSnaplen, max_mib: captureMaxSize });
  return {
    end: async () => {
      try {
        const done = (await engine.client.request('capture', { stop: true }, END_MS)) as Captured;
        tell(done, capture, quiet);
      } catch (error) {
        warn(`the capture in ${capture} may lack its end: ${textOf(error)}`);
      }
    },
  };
}

function tell({ packets, dropped, ended }: Captured, file: string, quiet: boolean): void {
  if (dropped > 0)
    warn(`${dropped} packets between programs were sent faster than ${file} is written, and are not in it`);
  // Why it ended early was told when it did.
  if (!quiet && ended === undefined) note(`${packets} packets captured in ${file}`);
}
