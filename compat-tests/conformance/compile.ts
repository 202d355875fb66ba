// SPDX-License-Identifier: BSD-3-Clause
/** The TypeScript that runs in child processes, as JavaScript: `libc`, `harness` and `suites` into `dist`. Types are `npm run lint`'s. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const HERE = dirname(fileURLToPath(import.meta.url));
const PARTS = ['libc', 'harness', 'suites'];

/** The program that runs cases. */
export const CHILD = join(HERE, 'dist', 'harness', 'child.js');

export function compileCases(): void {
  for (const part of PARTS) {
    mkdirSync(join(HERE, 'dist', part), { recursive: true });
    for (const file of readdirSync(join(HERE, part)).filter((name) => name.endsWith('.ts'))) {
      const [source, target] = [join(HERE, part, file), join(HERE, 'dist', part, file.replace(/\.ts$/, '.js'))];
      if (existsSync(target) && statSync(target).mtimeMs > statSync(source).mtimeMs) continue;
      const { outputText } = ts.transpileModule(readFileSync(source, 'utf8'), {
        fileName: file,
        compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
      });
      writeFileSync(target, outputText);
    }
  }
}
