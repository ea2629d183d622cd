import { Link } from '@tanstack/react-router';
import { useModel } from '../../../api/models';
import { RollBack } from '../now/RollBack';
import type { Cause, Why } from './api';
import { placeOf } from './words';

/** How long before and after a change its records are shown, in milliseconds. */
const AROUND_MS = 15 * 60_000;

/** What comes next, where the dashboard can do it: going back is a button, all else leads to where one sees it. */
export function NextPlace({ next, why }: { next: Cause['next']; why: Why }) {
  const { project, model, environment, changed_at: changedAt } = why;
  const { data: view } = useModel(project, model);
  const rollbackTo = view?.rollback_to.find(([of]) => of === environment)?.[1];
  if (next.do === 'roll_back' && next.to === rollbackTo) return <RollBack project={project} model={model} environment={environment} />;
  const place = placeOf(next);
  if (!place) return null;
  if (place.to === 'events') return <Link to="/events" search={{ model: `${project}/${model}`, at: place.at }}>{place.title}</Link>;
  const around = place.tab === 'records' && changedAt ? { from: changedAt - AROUND_MS, to: changedAt + AROUND_MS } : {};
  return (
    <Link to="/models/$project/$model" params={{ project, model }} search={{ tab: place.tab, environment, column: place.column, version: place.version, ...around }}>
      {place.title}
    </Link>
  );
}
