import { useMutation, useQuery } from '@tanstack/react-query';
import { answer, api, type Schema } from '../../../api/client';
import { keys } from '../../../api/keys';

export type Compared = Schema<'CompareReport'>;
export type Estimate = Schema<'Estimate'>;

/** How many of the last requests both versions are asked. */
export const REQUESTS = 200;

/** What differs between the files and manifests of two versions. Versions never change. */
export function useChanges(project: string, model: string, from: string, to: string) {
  return useQuery({
    queryKey: keys.why(project, model, 'changes', from, to),
    queryFn: async ({ signal }) => {
      const params = { path: { project, model }, query: { from, to } };
      return (await answer(api.GET('/v1/projects/{project}/models/{model}/changes', { params, signal }))) as Schema<'ChangesView'>;
    },
    staleTime: Infinity,
  });
}

/** Asks both the last requests: it starts a replica of each, so only when somebody says so. */
export function useCompared(project: string, model: string, environment: string, before: string, after: string) {
  return useMutation({
    mutationFn: async () => {
      const body = { before, after, environment, last: REQUESTS };
      return (await answer(api.POST('/v1/projects/{project}/models/{model}/compare', { params: { path: { project, model } }, body }))) as Compared;
    },
  });
}
