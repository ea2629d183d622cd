import { useQuery } from '@tanstack/react-query';
import { answer, api } from '../../../api/client';

/** As many lines as one looks through by eye; the command line has more. */
export const LINES = 5_000;

/** The last lines that a version printed. While they are followed they are read every two seconds, if somebody looks. */
export function useLog(project: string, model: string, version: string | undefined, follow: boolean) {
  return useQuery({
    // Entries of the ledger say nothing about what is printed: it is not among the keys of the model.
    queryKey: ['log', project, model, version ?? null],
    queryFn: ({ signal }) =>
      answer(api.GET('/v1/projects/{project}/models/{model}/logs', {
        params: { path: { project, model }, query: { lines: LINES, ...(version ? { version } : {}) } }, parseAs: 'text', signal,
      })),
    enabled: follow ? true : (query) => query.state.data === undefined,
    refetchInterval: follow ? 2_000 : false,
    refetchIntervalInBackground: false,
    refetchOnWindowFocus: follow,
    staleTime: follow ? 0 : Infinity,
  });
}
