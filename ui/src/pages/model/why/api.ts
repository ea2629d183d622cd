import { useQuery } from '@tanstack/react-query';
import { answer, api, type Schema } from '../../../api/client';
import { keys } from '../../../api/keys';
import type { Metric } from './words';

export type Why = Schema<'WhyView'>;
export type Cause = Why['causes'][number];
export type Told = Why['told'][number];
export type Chart = NonNullable<Why['chart']>;

/**
 * Why a number changed. It is asked once, and again only when somebody says so: an answer that changes while it is read
 * helps nobody, and the server reads the records of two hours for it.
 */
export function useWhy(project: string, model: string, environment: string, at: number | undefined, metric: Metric | undefined) {
  return useQuery({
    queryKey: keys.why(project, model, environment, at ?? null, metric ?? null),
    queryFn: async ({ signal }) => {
      const query = { environment, ...(at === undefined ? {} : { at: new Date(at).toISOString() }), ...(metric ? { metric } : {}) };
      return (await answer(api.GET('/v1/projects/{project}/models/{model}/why', { params: { path: { project, model }, query }, signal }))) as Why;
    },
    staleTime: Infinity,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
}
