/** What the live stream told last, for whichever component looks at it. */

/** The numbers of a model in one environment, of this second. */
export interface LiveModel {
  project: string;
  name: string;
  /** Null if it is live nowhere. */
  environment: string | null;
  live: string | null;
  /** In a word or two; empty if there is nothing to say. */
  state: string;
  requests_per_s: number;
  /** Of all requests, those that failed, from 0 to 1. */
  errors_share: number;
  p50_ms: number | null;
  p99_ms: number | null;
  in_flight: number;
  queued_rows: number;
  replicas: number;
  wanted: number | null;
  alarms: number;
}

export interface LiveState {
  /** `away` means that the server does not answer. */
  mode: 'connecting' | 'streaming' | 'polling' | 'away';
  /** When the server was heard last, in milliseconds since 1970. */
  heardAt: number | null;
  /** When it is tried again, while it is away. */
  retryAt: number | null;
  /** The server's version at first, and now: if they differ, this page is from before. */
  firstVersion: string | null;
  version: string | null;
}

const models = new Map<string, LiveModel>();
const listeners = new Set<() => void>();
let state: LiveState = { mode: 'connecting', heardAt: null, retryAt: null, firstVersion: null, version: null };

export function liveKey(project: string, name: string, environment: string | null): string {
  return `${project}/${name}@${environment ?? ''}`;
}

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function getState(): LiveState {
  return state;
}

export function getModel(key: string): LiveModel | undefined {
  return models.get(key);
}

export function allModels(): LiveModel[] {
  return [...models.values()];
}

export function setState(change: Partial<LiveState>): void {
  state = { ...state, ...change };
  listeners.forEach((listener) => listener());
}

export function sawVersion(version: string): void {
  setState({ version, firstVersion: state.firstVersion ?? version });
}

export function setModels(changed: readonly LiveModel[], all: boolean): void {
  if (all) models.clear();
  for (const model of changed) models.set(liveKey(model.project, model.name, model.environment), model);
  listeners.forEach((listener) => listener());
}
