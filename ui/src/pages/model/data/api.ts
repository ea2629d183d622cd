import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { answer, api, type Schema } from '../../../api/client';
import { keys } from '../../../api/keys';

/** One series; `slice` is the rows that its values are of, such as `city=Utrecht`, where a server tells it. */
export type Series = Schema<'SeriesDrift'> & { slice?: string | null };
export type Drift = Omit<Schema<'ModelDrift'>, 'series'> & { series: Series[] };
export type By = Schema<'By'>;

/** How the last day compares. Detectors look every minute, so asking twice in that time is enough. */
export function useDrift(project: string, model: string, environment: string) {
  return useQuery({
    queryKey: keys.model(project, model, 'drift', environment),
    queryFn: async ({ signal }) =>
      (await answer(
        api.GET('/v1/projects/{project}/models/{model}/drift', { params: { path: { project, model }, query: { environment } }, signal }),
      )) as Drift,
    refetchInterval: 30_000,
  });
}

export interface MetricsFilter {
  environment: string;
  by: By;
  from_ms: number;
  to_ms: number;
  column?: string | undefined;
  version?: string | undefined;
}

/** What columns and requests were like. Times are cut to the minute, so that one answer serves for as long. */
export function useMetrics(project: string, model: string, filter: MetricsFilter, enabled = true) {
  const query = { ...filter, from_ms: minute(filter.from_ms), to_ms: minute(filter.to_ms) + 60_000 };
  return useQuery({
    queryKey: keys.model(project, model, 'metrics', query),
    queryFn: ({ signal }) =>
      answer(api.GET('/v1/projects/{project}/models/{model}/metrics', { params: { path: { project, model }, query: given(query) }, signal })),
    placeholderData: keepPreviousData,
    enabled,
  });
}

function given({ column, version, ...rest }: MetricsFilter) {
  return { ...rest, ...(column === undefined ? {} : { column }), ...(version === undefined ? {} : { version }) };
}

function minute(at: number): number {
  return Math.floor(at / 60_000) * 60_000;
}

/** How fine the rows of a range should be: a few hundred at most. */
export function fitting(lengthMs: number): By {
  if (lengthMs <= 6 * 3_600_000) return 'minute';
  return lengthMs <= 8 * 86_400_000 ? 'hour' : 'day';
}
