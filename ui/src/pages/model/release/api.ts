import { useQuery, useQueryClient } from '@tanstack/react-query';
import { answer, api, read, type Schema } from '../../../api/client';
import { keys } from '../../../api/keys';
import { toProblem } from '../../../api/problem';
import { orProposed } from '../versions/act';

export type Release = Schema<'ReleaseView'>;

/** The release that runs or the last one; null if there was none. Each second while it runs. */
export function useRelease(project: string, model: string, environment: string) {
  return useQuery({
    queryKey: keys.model(project, model, 'release', environment),
    queryFn: async ({ signal }) => {
      const call = api.GET('/v1/projects/{project}/models/{model}/release', { params: { path: { project, model }, query: { environment } }, signal });
      try {
        return (await answer(call)) as Release;
      } catch (cause) {
        if (toProblem(cause).code === 'no_release') return null;
        throw cause;
      }
    },
    staleTime: 0,
    refetchInterval: (query) => (query.state.data?.outcome === 'running' ? 1_000 : false),
  });
}

/** What waits for approval, of this model alone. */
export function useProposals(project: string, model: string) {
  return useQuery({
    queryKey: keys.access('proposals', 'open'),
    queryFn: ({ signal }) => answer(api.GET('/v1/proposals', { params: { query: { open: true, limit: 100 } }, signal })),
    select: ({ proposals }) => proposals.filter(({ object }) => object.split('@')[0] === `${project}/${model}`),
    refetchInterval: 10_000,
  });
}

interface Requested {
  seq: number;
  at_ms: number;
  actor: string;
  body: { plan?: Schema<'Plan'> | null };
}

/** When each attempt was requested, by whom and how; its number is that of the entry. */
export function useRequested(project: string, model: string, first: number | undefined) {
  return useQuery({
    queryKey: keys.model(project, model, 'deploy_started', first),
    queryFn: async ({ signal }) => {
      const after = first === undefined ? undefined : first - 1;
      const { events } = await read<{ events: Requested[] }>('/v1/events', { model: `${project}/${model}`, kind: 'deploy_started', limit: 200, after }, signal);
      return new Map(events.map((event) => [event.seq, event]));
    },
    enabled: first !== undefined,
  });
}

/** What one can do with a release. Each is followed by a look at what became of it. */
export function useSteering(project: string, model: string, environment: string) {
  const queries = useQueryClient();
  const path = { project, model };
  const then = async <T>(call: Promise<T>): Promise<T> => {
    const done = orProposed(await call);
    await queries.invalidateQueries({ queryKey: keys.model(project, model) });
    return done;
  };
  return {
    act: (action: 'pause' | 'resume' | 'abort') =>
      then(answer(api.POST('/v1/projects/{project}/models/{model}/release/{action}', { params: { path: { ...path, action } }, body: { environment } }))),
    rollBack: () => then(answer(api.POST('/v1/projects/{project}/models/{model}/rollbacks', { params: { path }, body: { environment } }))),
    release: (version: string, to: string) =>
      then(answer(api.POST('/v1/projects/{project}/models/{model}/deployments', { params: { path }, body: { version, environment: to, plan: { cause: 'promote' } } as Schema<'DeploymentRequest'> }))),
  };
}

export type Steering = ReturnType<typeof useSteering>;
