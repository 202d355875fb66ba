/** The administration protocol: JSON lines over the engine's abstract stream socket (docs/INTERFACES.md). */
import { connect, type Socket } from 'node:net';
import { errnoOf, LauncherError, textOf } from '../errors.js';
import { adminAddress } from './name.js';

/** What the engine reports on a connection that holds a lease. */
export type EngineEvent =
  | {
      event: 'listen';
      pid: number;
      name: string;
      proto: string;
      address: string;
      port: number;
      verdict: string;
      /** Addresses of the engine's ports at which the listener is reached, too. */
      wire?: string[];
    }
  | { event: 'attach'; pid: number; name: string }
  | { event: 'detach'; pid: number }
  | { event: 'warning'; text: string };

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

/** A longer line is no answer of an engine. */
const MAX_LINE = 16 << 20;

/** A connection to an engine. Requests may overlap; answers are matched by id. */
export class AdminClient {
  /** Called for every event; events that arrive before it is set are kept for it. */
  private listener: ((event: EngineEvent) => void) | undefined;
  private readonly early: EngineEvent[] = [];
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;
  private buffer = '';
  private closed = false;
  private onClosed: (() => void) | undefined;

  private constructor(
    private readonly socket: Socket,
    readonly engine: string,
  ) {
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.receive(text));
    socket.on('error', () => this.lost());
    socket.on('close', () => this.lost());
  }

  /**
   * Connects to the engine `name`.
   * @returns the client, or `undefined` when no engine has the name
   * @throws LauncherError ZS1203 for any failure but a refused connection
   */
  static async open(name: string): Promise<AdminClient | undefined> {
    const socket = connect({ path: adminAddress(name) });
    return new Promise((resolve, reject) => {
      socket.once('connect', () => {
        socket.removeAllListeners('error');
        resolve(new AdminClient(socket, name));
      });
      socket.once('error', (error) => {
        const code = errnoOf(error);
        if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(undefined);
        else reject(new LauncherError('ZS1203', `engine ${name}: ${textOf(error)}`, 'try again'));
      });
    });
  }

  /**
   * Sends a request and waits for its answer.
   * @param timeoutMs how long to wait, milliseconds
   * @throws LauncherError ZS1203 no answer or the connection is lost, or with the engine's own code when it refuses
   */
  request(cmd: string, args: Record<string, unknown> = {}, timeoutMs = 5000): Promise<unknown> {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(this.lostError());
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(
          new LauncherError(
            'ZS1203',
            `engine ${this.engine} did not answer ${cmd} within ${timeoutMs} ms`,
            'see `zstack-run engine logs`; `zstack-run engine restart`',
          ),
        );
      }, timeoutMs);
      this.pending.set(id, { resolve, reject, timer });
      this.socket.write(`${JSON.stringify({ id, cmd, ...args })}\n`);
    });
  }

  /** Sets the receiver of events and delivers those that came before. */
  onEvent(listener: (event: EngineEvent) => void): void {
    this.listener = listener;
    for (const event of this.early.splice(0)) listener(event);
  }

  /** Calls `callback` once when the engine goes away; not after {@link close}. */
  onLost(callback: () => void): void {
    this.onClosed = callback;
    if (this.closed) this.fireLost();
  }

  /** Ends the connection, and with it the lease it may hold. */
  close(): void {
    this.onClosed = undefined;
    this.closed = true;
    this.rejectAll();
    this.socket.destroy();
  }

  private receive(text: string): void {
    this.buffer += text;
    if (this.buffer.length > MAX_LINE) return this.lost();
    const lines = this.buffer.split('\n');
    this.buffer = lines.pop() ?? '';
    for (const line of lines) this.receiveLine(line);
  }

  private receiveLine(line: string): void {
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      return this.lost();
    }
    if (typeof message !== 'object' || message === null) return;
    if ('event' in message) {
      if (this.listener) this.listener(message as EngineEvent);
      else this.early.push(message as EngineEvent);
    } else if ('id' in message) {
      this.answer(message as { id: number; ok?: boolean; result?: unknown; error?: EngineError });
    }
  }

  private answer({ id, ok, result, error }: { id: number; ok?: boolean; result?: unknown; error?: EngineError }): void {
    const pending = this.pending.get(id);
    if (pending === undefined) return;
    this.pending.delete(id);
    clearTimeout(pending.timer);
    if (ok === true) pending.resolve(result);
    else
      pending.reject(
        LauncherError.fromEngine(error ?? { code: 'ZS1203', message: 'the engine refused without a reason' }),
      );
  }

  private lost(): void {
    if (this.closed) return;
    this.closed = true;
    this.socket.destroy();
    this.rejectAll();
    this.fireLost();
  }

  private fireLost(): void {
    const callback = this.onClosed;
    this.onClosed = undefined;
    callback?.();
  }

  private rejectAll(): void {
    for (const { reject, timer } of this.pending.values()) {
      clearTimeout(timer);
      reject(this.lostError());
    }
    this.pending.clear();
  }

  private lostError(): LauncherError {
    return new LauncherError('ZS1203', `engine ${this.engine} closed the connection`, 'see `zstack-run engine status`');
  }
}

interface EngineError {
  code: string;
  message: string;
  hint?: string;
}
