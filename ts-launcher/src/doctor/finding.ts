/** Short ways to write the findings of the doctor. */
import type { Finding } from '../target/inspect.js';

export const ok = (name: string, evidence: string): Finding => ({ name, status: 'ok', evidence, remedy: '' });
export const warn = (name: string, evidence: string, remedy: string): Finding => ({
  name,
  status: 'warn',
  evidence,
  remedy,
});
export const fail = (name: string, evidence: string, remedy: string): Finding => ({
  name,
  status: 'fail',
  evidence,
  remedy,
});
