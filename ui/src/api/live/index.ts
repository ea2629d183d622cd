import { useSyncExternalStore } from 'react';
import { getModel, getState, liveKey, type LiveModel, type LiveState, subscribe } from './store';

export { connect } from './connect';
export type { LiveModel, LiveState } from './store';

/** Whether what is shown is of now: how the server is heard, and since when it is not. */
export function useLive(): LiveState {
  return useSyncExternalStore(subscribe, getState);
}

/** When the server was heard last, if it is away; else null. Of whatever shows numbers: `stale since 14:05:10`. */
export function useStaleSince(): number | null {
  return useSyncExternalStore(subscribe, () => (getState().mode === 'away' ? getState().heardAt : null));
}

/** The numbers of this second, if there is a stream. */
export function useLiveModel(project: string, name: string, environment: string | null | undefined): LiveModel | undefined {
  const key = liveKey(project, name, environment ?? '');
  return useSyncExternalStore(subscribe, () => getModel(key));
}
