import { useQuery } from '@tanstack/react-query';
import { answer, api } from './client';
import { keys } from './keys';

/** Who one is. An error with status 401 means: nobody yet. */
export function useSession() {
  return useQuery({
    queryKey: keys.session,
    queryFn: ({ signal }) => answer(api.GET('/v1/whoami', { signal })),
    staleTime: 60_000,
    // Somebody who just followed a link of `decalog dashboard` in another tab is let in here, too.
    refetchInterval: (query) => (query.state.status === 'error' ? 3_000 : false),
  });
}

/** Whether one may do something with something, and what is missing: `useCan('rollback', 'default/churn@production')`. */
export function useCan(action: string, object: string, enabled = true) {
  return useQuery({
    queryKey: keys.can(action, object),
    queryFn: ({ signal }) =>
      answer(api.GET('/v1/can', { params: { query: { action: action as 'read', object } }, signal })),
    staleTime: 60_000,
    enabled,
  });
}

/** The server's version, address and load. */
export function useStatus() {
  return useQuery({ queryKey: keys.status, queryFn: ({ signal }) => answer(api.GET('/v1/status', { signal })) });
}
