import { useQuery } from '@tanstack/react-query';
import { answer, api, type Schema } from '../../../api/client';
import { keys } from '../../../api/keys';

export type Lineage = Schema<'Lineage'>;
export type Version = Schema<'LineageVersion'>;

/** Where the versions of a model come from and where they went. It changes with an entry about the model, which refetches it. */
export function useLineage(project: string, model: string) {
  return useQuery({
    queryKey: keys.model(project, model, 'lineage'),
    queryFn: async ({ signal }) =>
      (await answer(api.GET('/v1/projects/{project}/models/{model}/lineage', { params: { path: { project, model } }, signal }))) as Lineage,
    staleTime: 60_000,
  });
}
