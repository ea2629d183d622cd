/** What the server answers when it cannot do something (RFC 9457, with a `code` that programs may rely on). */
export class Problem extends Error {
  override readonly name = 'Problem';
  /** The HTTP status; 0 if there was no answer at all. */
  readonly status: number;
  readonly code: string;
  /** What to do about it. */
  readonly help: string | null;
  /** One line each: fields, a traceback, differences. */
  readonly details: readonly string[];
  readonly retryAfterS: number | null;

  constructor(status: number, told: Partial<Told>) {
    super(told.error ?? `the server answered with status ${status}`);
    this.status = status;
    this.code = told.code ?? (status === 0 ? 'unreachable' : 'unknown');
    this.help = told.help ?? null;
    this.details = told.details ?? [];
    this.retryAfterS = told.retry_after_s ?? null;
  }

  /** Whoever asks is not known. */
  get isStranger(): boolean {
    return this.status === 401;
  }

  /** Whoever asks may not. */
  get isForbidden(): boolean {
    return this.status === 403;
  }

  get isMissing(): boolean {
    return this.status === 404;
  }

  /** There was no answer: the server restarts, or the network is away. */
  get isUnreachable(): boolean {
    return this.status === 0;
  }
}

interface Told {
  error: string;
  code: string;
  help: string;
  details: string[];
  retry_after_s: number | null;
}

/** Makes a problem of whatever was thrown or answered. */
export function toProblem(cause: unknown, status = 0): Problem {
  if (cause instanceof Problem) return cause;
  if (status === 0 && cause instanceof TypeError) {
    return new Problem(0, { error: 'the server does not answer', help: 'this page tries again by itself' });
  }
  if (typeof cause === 'object' && cause !== null && 'error' in cause) return new Problem(status, cause as Partial<Told>);
  if (cause instanceof Error) return new Problem(status, { error: cause.message });
  return new Problem(status, typeof cause === 'string' && cause !== '' ? { error: cause } : {});
}
