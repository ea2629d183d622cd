import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { answer, api, type Schema } from '../../../api/client';
import { keys } from '../../../api/keys';

export type Window = Schema<'QualityWindow'>;
export type Metric = Schema<'QualityMetric'>;
export type Step = 'all' | 'day' | 'hour';

/** How good predictions were. Truth comes when it comes: once a minute is soon enough. */
export function useQuality(project: string, model: string, environment: string, step: Step, range: { from: number; to: number }) {
  const query = { environment, step, since_ms: hour(range.from), until_ms: hour(range.to) + 3_600_000 };
  return useQuery({
    queryKey: keys.model(project, model, 'quality', query),
    queryFn: ({ signal }) =>
      answer(api.GET('/v1/projects/{project}/models/{model}/quality', { params: { path: { project, model }, query }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: 60_000,
  });
}

function hour(at: number): number {
  return Math.floor(at / 3_600_000) * 3_600_000;
}
