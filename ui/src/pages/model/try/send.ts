/** Asks a model, as any caller does, and keeps what the answer says of itself. */
import { createParser } from '../../../api/live/sse';
import { type Problem, toProblem } from '../../../api/problem';

export interface Told {
  at: number;
  body: string;
  status: number;
  /** From sending to the last byte, as this browser saw it. */
  tookMs: number;
  requestId: string | null;
  version: string | null;
  /** What the server measured, by name. */
  timing: readonly { name: string; ms: number }[];
  /** What came back, as text. */
  raw: string;
  answer: unknown;
  /** The pieces of a stream, as they came. */
  items: readonly unknown[] | null;
  problem: Problem | null;
}

export function pathOf(reference: string): string {
  return `/v1/models/${reference.split('/').map(encodeURIComponent).join('%2F').replaceAll('%40', '@')}/predict`;
}

/** Pieces of a stream are told as they come; the promise ends with the last one. It never fails. */
export async function send(reference: string, body: string, signal: AbortSignal, onPart: (told: Told) => void): Promise<Told> {
  const at = Date.now();
  const start = performance.now();
  const told: Told = { at, body, status: 0, tookMs: 0, requestId: null, version: null, timing: [], raw: '', answer: undefined, items: null, problem: null };
  try {
    const response = await fetch(pathOf(reference), { method: 'POST', credentials: 'same-origin', headers: { 'content-type': 'application/json' }, body, signal });
    const { headers } = response;
    const known: Told = {
      ...told, status: response.status, requestId: headers.get('decalog-request-id'), version: headers.get('decalog-version'), timing: timingOf(headers.get('server-timing')),
    };
    if (response.ok && headers.get('content-type')?.startsWith('text/event-stream')) return await readStream(response, known, start, onPart);
    const raw = await response.text();
    const answer = parsed(raw);
    return { ...known, raw, answer, tookMs: performance.now() - start, problem: response.ok ? null : toProblem(answer, response.status) };
  } catch (cause) {
    const isStopped = cause instanceof DOMException && cause.name === 'AbortError';
    return { ...told, tookMs: performance.now() - start, problem: isStopped ? toProblem(new Error('stopped')) : toProblem(cause) };
  }
}

async function readStream(response: Response, known: Told, start: number, onPart: (told: Told) => void): Promise<Told> {
  const items: unknown[] = [];
  let raw = '';
  let problem: Problem | null = null;
  const parse = createParser(({ event, data }) => {
    if (event === 'error') problem = toProblem(parsed(data), response.status);
    else items.push(parsed(data));
  });
  const now = (): Told => ({ ...known, raw, items: [...items], answer: [...items], tookMs: performance.now() - start, problem });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) return now();
      raw += value;
      parse(value ?? '');
      onPart(now());
    }
  } catch (cause) {
    // Whoever stops a stream keeps what came until then.
    if (cause instanceof DOMException && cause.name === 'AbortError') return now();
    return { ...now(), problem: toProblem(cause) };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function timingOf(header: string | null): Told['timing'] {
  return (header ?? '').split(',').flatMap((part) => {
    const match = /^\s*([\w-]+);.*?dur=([\d.]+)/.exec(part);
    return match?.[1] ? [{ name: match[1], ms: Number(match[2]) }] : [];
  });
}
