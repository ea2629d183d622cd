import { useCallback } from 'react';
import { answer, api, type Schema } from '../../../api/client';
import { keys } from '../../../api/keys';
import { Problem } from '../../../api/problem';
import { queries } from '../../../api/queries';
import type { PlanWished } from './plan';

/** A change that needs approval is answered with a problem of status 202, which tells who has to agree. */
export function orProposed<T>(told: T): T {
  if (typeof told === 'object' && told !== null && 'code' in told && 'error' in told) throw new Problem(202, told as Partial<Schema<'Problem'>> & { retry_after_s?: null });
  return told;
}

/** What can be done with the versions of a model. Each refetches what is shown about it. */
export function useActs(project: string, model: string) {
  const path = { project, model };
  const done = useCallback(() => {
    void queries.invalidateQueries({ queryKey: keys.model(project, model) });
    void queries.invalidateQueries({ queryKey: keys.models });
  }, [project, model]);

  async function act<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<void> {
    try {
      orProposed(await answer(call));
    } finally {
      done();
    }
  }
  return {
    rollBack: (environment: string) => act(api.POST('/v1/projects/{project}/models/{model}/rollbacks', { params: { path }, body: { environment } })),
    release: (version: string, environment: string, plan: PlanWished | null = null) =>
      act(api.POST('/v1/projects/{project}/models/{model}/deployments', { params: { path }, body: { version, environment, ...(plan && { plan }) } as Schema<'DeploymentRequest'> })),
    remove: (version: string) => act(api.DELETE('/v1/projects/{project}/models/{model}/versions/{version}', { params: { path: { ...path, version } } })),
  };
}
