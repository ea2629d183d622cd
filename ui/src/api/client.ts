import createClient from 'openapi-fetch';
import { Problem, toProblem } from './problem';
import type { components, paths } from './schema';

/** A type of the API by its name, as in `Schema<'ModelView'>`. */
export type Schema<Name extends keyof components['schemas']> = components['schemas'][Name];

/** The typed client: `answer(api.GET('/v1/alarms'))`. */
export const api = createClient<paths>({ credentials: 'same-origin' });

/** Waits for a call of the client, and gives what was answered or throws a `Problem`. */
export async function answer<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call.catch((cause: unknown) => {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw toProblem(cause);
  });
  if (!response.ok || error !== undefined) throw toProblem(error, response.status);
  return data as T;
}

/**
 * Reads JSON from a path whose parameters the schema does not have. Prefer `answer(api.GET(…))`.
 * Parameters that are undefined are left out.
 */
export async function read<T>(
  path: string,
  query: Readonly<Record<string, string | number | boolean | undefined>> = {},
  signal?: AbortSignal,
): Promise<T> {
  const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  const search = new URLSearchParams(given).toString();
  const response = await fetch(search === '' ? path : `${path}?${search}`, {
    credentials: 'same-origin',
    headers: { accept: 'application/json' },
    ...(signal ? { signal } : {}),
  }).catch((cause: unknown) => {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw toProblem(cause);
  });
  const body: unknown = await response.json().catch(() => undefined);
  if (!response.ok) throw toProblem(body, response.status);
  if (body === undefined) throw new Problem(response.status, { error: `${path} did not answer with JSON` });
  return body as T;
}
