import { keys } from '../keys';
import { toProblem } from '../problem';
import { queries } from '../queries';
import { read } from '../client';
import { refetchAbout, refetchAlarms, refetchAll, refetchLists } from './refetch';
import type { StreamEvent } from './sse';
import { allModels, getState, type LiveModel, type LiveState, sawVersion, setModels, setState } from './store';
import { readStream } from './stream';

/*
 * Browsers open six connections to a server over HTTP/1.1. So one tab, which holds a lock, reads the stream and tells
 * the others. When it is closed, the lock goes to another one. Where there are no locks (no secure context), or no
 * stream, each tab asks by itself every few seconds.
 */

const POLL_MS = 5_000;
const LONGEST_WAIT_MS = 10_000;

type Message =
  | { kind: 'event'; event: StreamEvent }
  | { kind: 'state'; state: Pick<LiveState, 'mode' | 'heardAt' | 'retryAt'>; back: boolean }
  | { kind: 'joined' }
  | { kind: 'welcome'; models: LiveModel[]; state: LiveState };

let channel: BroadcastChannel | null = null;
let leads = false;
let lastId: string | null = null;
let expectsAll = true;

function hear(stream: StreamEvent): void {
  lastId = stream.id ?? lastId;
  const data: unknown = JSON.parse(stream.data);
  if (stream.event === 'hello') {
    expectsAll = true;
    sawVersion((data as { version: string }).version);
  } else if (stream.event === 'models') {
    setModels((data as { models: LiveModel[] }).models, expectsAll);
    expectsAll = false;
  } else if (stream.event === 'ledger') {
    // Of more than it can name the server names none.
    const { subjects } = data as { subjects: string[] | null };
    if (subjects) refetchAbout(subjects);
    else refetchAll();
  } else if (stream.event === 'alarms') {
    refetchAlarms();
  }
}

function enter(mode: LiveState['mode'], retryAt: number | null = null): void {
  const before = getState().mode;
  const heardAt = mode === 'away' || mode === 'connecting' ? getState().heardAt : Date.now();
  const back = before === 'away' && (mode === 'streaming' || mode === 'polling');
  setState({ mode, retryAt, heardAt });
  channel?.postMessage({ kind: 'state', state: { mode, retryAt, heardAt }, back } satisfies Message);
  if (back) refetchAll();
}

function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const over = () => {
      clearTimeout(timer);
      removeEventListener('online', over);
      done();
    };
    const timer = setTimeout(over, milliseconds);
    addEventListener('online', over, { once: true });
    signal.addEventListener('abort', over, { once: true });
  });
}

/** Streams for as long as this tab leads. Gives false if the server has no stream. */
async function stream(signal: AbortSignal): Promise<boolean> {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await readStream(
        lastId,
        (event) => {
          failures = 0;
          if (getState().mode === 'streaming') setState({ heardAt: Date.now() });
          else enter('streaming');
          hear(event);
          channel?.postMessage({ kind: 'event', event } satisfies Message);
        },
        signal,
      );
    } catch (cause) {
      const problem = toProblem(cause);
      if (problem.isMissing || problem.status === 405) return false;
      if (problem.isStranger) void queries.invalidateQueries({ queryKey: keys.session });
    }
    if (signal.aborted) break;
    failures += 1;
    const pause = Math.min(LONGEST_WAIT_MS, 250 * 2 ** failures) * (0.75 + Math.random() / 2);
    // A stream that ends once is opened again before anybody has to know.
    if (failures > 1) enter('away', Date.now() + pause);
    await wait(pause, signal);
  }
  return true;
}

/** Asks every few seconds. */
async function poll(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const { version } = await read<{ version: string }>('/v1/server', {}, signal);
      enter('polling');
      sawVersion(version);
      if (!document.hidden) {
        refetchLists();
        void queries.invalidateQueries({ queryKey: ['model'] });
        void queries.invalidateQueries({ queryKey: keys.alarms() });
      }
    } catch (cause) {
      if (!signal.aborted && toProblem(cause).isUnreachable) enter('away', Date.now() + POLL_MS);
    }
    await wait(POLL_MS, signal);
  }
}

async function lead(signal: AbortSignal): Promise<void> {
  leads = true;
  if (!(await stream(signal))) await poll(signal);
}

function listen({ data }: MessageEvent<Message>): void {
  if (data.kind === 'joined' && leads) {
    channel?.postMessage({ kind: 'welcome', models: allModels(), state: getState() } satisfies Message);
  } else if (leads) {
    return;
  } else if (data.kind === 'event') {
    if (getState().mode === 'streaming') setState({ heardAt: Date.now() });
    hear(data.event);
  } else if (data.kind === 'state') {
    setState(data.state);
    if (data.back || data.state.mode === 'polling') refetchAll();
  } else if (data.kind === 'welcome') {
    setState({ ...data.state, firstVersion: getState().firstVersion ?? data.state.version });
    setModels(data.models, true);
    expectsAll = false;
  }
}

/** Begins to listen; the function that it gives ends that. */
export function connect(): () => void {
  const end = new AbortController();
  if (!isSecureContext || !('locks' in navigator) || !('BroadcastChannel' in window)) {
    void poll(end.signal);
    return () => end.abort();
  }
  channel = new BroadcastChannel('decalog-live');
  channel.addEventListener('message', listen);
  channel.postMessage({ kind: 'joined' } satisfies Message);
  navigator.locks.request('decalog-live', { signal: end.signal }, () => lead(end.signal)).catch(() => undefined);
  return () => {
    end.abort();
    leads = false;
    channel?.close();
    channel = null;
  };
}
