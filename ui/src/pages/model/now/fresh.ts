import { useEffect } from 'react';
import type { Schema } from '../../../api/client';
import { keys } from '../../../api/keys';
import { queries } from '../../../api/queries';

/**
 * Keeps what is shown about a model of now. Replicas come and go without an entry in the ledger, and without a stream
 * nothing tells of entries, either: while something is on its way it is asked often, else now and then.
 */
export function useFresh(project: string, model: string, view: Schema<'ModelView'> | undefined): void {
  const isMoving = view?.deployments.some((one) => one.outcome === 'running') === true || view?.replicas.some((one) => one.state !== 'ready') === true;
  const live = JSON.stringify(view?.live ?? []);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) void queries.invalidateQueries({ queryKey: keys.model(project, model), exact: true });
    }, isMoving ? 2_000 : 10_000);
    return () => clearInterval(timer);
  }, [project, model, isMoving]);
  useEffect(() => {
    void queries.invalidateQueries({ queryKey: keys.model(project, model, 'history') });
    void queries.invalidateQueries({ queryKey: keys.model(project, model, 'happened') });
  }, [project, model, live]);
}
