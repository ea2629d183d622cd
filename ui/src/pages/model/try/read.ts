import { useQuery } from '@tanstack/react-query';
import { answer, api } from '../../../api/client';
import { keys } from '../../../api/keys';

/** What values were like in the last day, to begin with a row that is like those that come. */
export function useLately(project: string, model: string, environment: string, version: string | undefined) {
  return useQuery({
    queryKey: keys.model(project, model, 'lately', environment, version ?? null),
    queryFn: async ({ signal }) =>
      (await answer(api.GET('/v1/projects/{project}/models/{model}/metrics', {
        params: { path: { project, model }, query: { by: 'all', environment, ...(version ? { version } : {}) } }, signal,
      }))).columns,
    enabled: version !== undefined,
    // A form that changes by itself while somebody types would be of no use.
    staleTime: Infinity,
    refetchOnWindowFocus: false,
  });
}
