import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { answer, api, read, type Schema } from './client';
import { keys } from './keys';

/** A model in one environment, as the list has it. What a server does not tell is absent. */
export type ModelListed = Schema<'ModelListed'> & {
  wanted?: number | null;
  temperature?: 'warm' | 'tepid' | 'cold' | null;
  drift?: 'usual' | 'changed' | 'learning' | null;
  truth?: 'final' | 'partial' | 'estimated' | null;
  /** Requests of each of the last 60 minutes, oldest first. */
  requests?: number[] | null;
};

export const MODEL_SORTS = ['name', 'requests', 'p99', 'errors', 'alarms'] as const;
export type ModelSort = (typeof MODEL_SORTS)[number];

export interface ModelFilter {
  search?: string | undefined;
  project?: string | undefined;
  sort?: ModelSort | undefined;
}

interface ModelsPage {
  models: ModelListed[];
  next?: string | null;
  total?: number;
}

const PAGE = 100;

function readModels(filter: ModelFilter, after: string | undefined, limit: number, signal: AbortSignal) {
  return read<ModelsPage>('/v1/models', { ...filter, after, limit }, signal);
}

/** The list of models, page by page: call `fetchNextPage` when the end comes near. */
export function useModels(filter: ModelFilter) {
  return useInfiniteQuery({
    queryKey: keys.modelPages({ ...filter }),
    queryFn: ({ pageParam, signal }) => readModels(filter, pageParam, PAGE, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
    placeholderData: keepPreviousData,
  });
}

/** A few models whose name has these letters. */
export function useModelsNamed(search: string, enabled: boolean) {
  return useQuery({
    queryKey: keys.modelPages({ find: search }),
    queryFn: ({ signal }) => readModels(search === '' ? {} : { search }, undefined, 20, signal),
    placeholderData: keepPreviousData,
    enabled,
  });
}

/** One model: versions, replicas, deployments. */
export function useModel(project: string, model: string) {
  return useQuery({
    queryKey: keys.model(project, model),
    // The client's types lose that pairs have two members; those of the schema do not.
    queryFn: async ({ signal }) =>
      (await answer(
        api.GET('/v1/projects/{project}/models/{model}', { params: { path: { project, model } }, signal }),
      )) as Schema<'ModelView'>,
  });
}
