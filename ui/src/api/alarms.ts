import { useQuery } from '@tanstack/react-query';
import { answer, api } from './client';
import { keys } from './keys';

/** Alarms that are open. */
export function useOpenAlarms(enabled = true) {
  return useQuery({
    queryKey: keys.alarms('open'),
    queryFn: ({ signal }) => answer(api.GET('/v1/alarms', { signal })),
    refetchInterval: 30_000,
    enabled,
  });
}
