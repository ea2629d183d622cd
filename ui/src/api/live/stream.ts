import { Problem, toProblem } from '../problem';
import { createParser, type StreamEvent } from './sse';

/** A server that says nothing for so long, not even that it has nothing to say, is asked anew. */
const SILENCE_MS = 30_000;

/**
 * Reads `/v1/live` until it ends, and throws a `Problem` if it cannot be read. It is read by `fetch`, because an
 * `EventSource` cannot be told where to go on from.
 */
export async function readStream(after: string | null, tell: (event: StreamEvent) => void, signal: AbortSignal) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  try {
    const response = await fetch('/v1/live', {
      credentials: 'same-origin',
      cache: 'no-store',
      headers: { accept: 'text/event-stream', ...(after === null ? {} : { 'last-event-id': after }) },
      signal: AbortSignal.any([signal, silence.signal]),
    });
    const kind = response.headers.get('content-type') ?? '';
    if (!response.ok || !response.body) throw toProblem(await response.json().catch(() => undefined), response.status);
    if (!kind.startsWith('text/event-stream')) throw new Problem(404, { error: 'there is no live stream here' });
    const parse = createParser(tell);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      parse(value);
    }
  } catch (cause) {
    if (silence.signal.aborted) throw new Problem(0, { error: 'the live stream was silent' });
    throw toProblem(cause);
  } finally {
    clearTimeout(timer);
  }
}
