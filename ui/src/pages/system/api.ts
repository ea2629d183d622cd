import { useQueries, useQuery } from '@tanstack/react-query';
import { answer, api, type Schema } from '../../api/client';
import { keys } from '../../api/keys';

export type Status = Schema<'Status'>;

export function useServerStatus() {
  return useQuery({
    queryKey: keys.system('status'),
    queryFn: async ({ signal }) => ({ ...(await answer(api.GET('/v1/status', { signal }))), askedAt: Date.now() }),
    refetchInterval: 10_000,
  });
}

/** The directory of the data, which anybody on the server's machine is told. */
export function useServer() {
  return useQuery({ queryKey: keys.server, queryFn: ({ signal }) => answer(api.GET('/v1/server', { signal })), staleTime: 60_000 });
}

/** The keys that wrap secrets, and how far a rotation is. While one runs, it is looked at each second. */
export function useKeys() {
  return useQuery({
    queryKey: keys.system('keys'),
    queryFn: ({ signal }) => answer(api.GET('/v1/keys', { signal })) as Promise<Schema<'Keys'> & { rotation: Schema<'Rotation'> | null }>,
    refetchInterval: (query) => (query.state.data?.rotation?.running ? 1_000 : false),
  });
}

export function useVariables(project: string, environment: string) {
  return useQuery({
    queryKey: keys.system('variables', project, environment),
    queryFn: ({ signal }) => answer(api.GET('/v1/projects/{project}/environments/{environment}/variables', { params: { path: { project, environment } }, signal })),
  });
}

/** The API tells processes and memory for each model by itself: more than these are not asked for at once. */
export const MODELS_MAX = 40;

/** Processes of models that run, and those that are parked. */
export function useProcesses(models: readonly string[]) {
  return useQueries({
    queries: models.slice(0, MODELS_MAX).map((key) => {
      const [project = '', model = ''] = key.split('/');
      return {
        queryKey: keys.model(project, model),
        queryFn: async ({ signal }: { signal: AbortSignal }) =>
          (await answer(api.GET('/v1/projects/{project}/models/{model}', { params: { path: { project, model } }, signal }))) as Schema<'ModelView'>,
        refetchInterval: 15_000,
      };
    }),
    combine: (results) => ({
      views: results.flatMap((result) => (result.data ? [result.data] : [])),
      isPending: results.some((result) => result.isPending),
      error: results.find((result) => result.error)?.error ?? null,
    }),
  });
}
