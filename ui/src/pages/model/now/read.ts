import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { answer, api, read, type Schema } from '../../../api/client';
import { keys } from '../../../api/keys';
import { useLive } from '../../../api/live';
import type { ModelListed } from '../../../api/models';
import { type Range, resolve } from '../../../range';
import { readEvents } from '../versions/read';
import { type Step, stepOf } from './series';

/** The model as the list has it: with its state in words, and how many replicas are wanted. */
export function useListed(project: string, model: string, environment: string): ModelListed | undefined {
  const { mode } = useLive();
  const { data } = useQuery({
    queryKey: keys.modelPages({ one: `${project}/${model}` }),
    queryFn: ({ signal }) => read<{ models: ModelListed[] }>('/v1/models', { project, search: model, limit: 1000 }, signal),
    refetchInterval: mode === 'streaming' ? 30_000 : 5_000,
  });
  return data?.models.find((row) => row.project === project && row.name === model && row.environment === environment);
}

export interface Measured {
  from: number;
  to: number;
  step: Step;
  requests: Schema<'RequestMetrics'>[];
  isCut: boolean;
}

/** What requests were like in a range of time. A range that ends now moves on. */
export function useMeasured(project: string, model: string, environment: string, range: Range) {
  return useQuery({
    queryKey: keys.model(project, model, 'measured', environment, range.since ?? null, range.from ?? null, range.to ?? null),
    queryFn: async ({ signal }): Promise<Measured> => {
      const { from, to } = resolve(range, Date.now());
      const step = stepOf(from, to, Date.now());
      const told = await answer(api.GET('/v1/projects/{project}/models/{model}/metrics', {
        params: { path: { project, model }, query: { by: step, only: 'requests', environment, from_ms: Math.floor(from), to_ms: Math.ceil(to) } }, signal,
      }));
      return { from, to, step, requests: told.requests, isCut: told.is_cut };
    },
    refetchInterval: (query) => (query.state.data && query.state.data.to > Date.now() - 90_000 ? 10_000 : false),
    placeholderData: keepPreviousData,
  });
}

/** What may explain a change of the numbers: releases, replicas that were added or failed. */
export function useHappened(project: string, model: string) {
  return useQuery({
    queryKey: keys.model(project, model, 'happened'),
    queryFn: ({ signal }) => readEvents(project, model, 'release,scale,replica_failed', signal),
    refetchInterval: 15_000,
  });
}

export function useAlarmChanges(project: string, model: string) {
  return useQuery({
    queryKey: keys.alarms('changes', `${project}/${model}`),
    queryFn: async ({ signal }) =>
      (await answer(api.GET('/v1/alarms/changes', { params: { query: { model: `${project}/${model}`, limit: 1000 } }, signal }))) as Schema<'ChangesPage'>,
    refetchInterval: 30_000,
  });
}
