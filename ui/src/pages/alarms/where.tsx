import { Link } from '@tanstack/react-router';
import type { Tab } from '../model/search';
import { metricOf } from '../model/why/words';
import type { Alarm } from './api';

/** On what page one sees an alarm's trouble, by its kind. */
const TABS: Readonly<Record<string, readonly [Tab, string]>> = {
  inputs: ['data', 'See the data'], outputs: ['data', 'See the data'], missing: ['data', 'See the data'], unseen: ['data', 'See the data'],
  out_of_range: ['data', 'See the data'], slices: ['data', 'See the data'],
  quality: ['truth', 'See the truth'], estimated_quality: ['truth', 'See the truth'],
  crash_loop: ['logs', 'See the logs'],
};
const BEFORE_MS = 15 * 60_000;

/** Leads to what shows the trouble: a column, a range of time around its beginning, or the state of the server. */
export function Where({ alarm }: { alarm: Alarm }) {
  const [project, model] = (alarm.model ?? '').split('/');
  if (!project || !model) return <Link to="/system">See the system</Link>;
  const [tab, title] = TABS[alarm.kind] ?? ['now', 'See the numbers'];
  const search = {
    environment: alarm.environment,
    ...(tab === 'now' ? {} : { tab }),
    ...(tab === 'data' ? { column: alarm.columns?.[0] } : {}),
    ...(tab === 'now' || tab === 'logs' ? { from: Math.max(0, alarm.since_ms - BEFORE_MS), to: alarm.resolved_at_ms ? alarm.resolved_at_ms + BEFORE_MS : undefined } : {}),
  };
  return <Link to="/models/$project/$model" params={{ project, model }} search={search}>{title}</Link>;
}

/**
 * Leads to what an alarm's trouble comes from, if it is about requests. A budget is spent over hours, and its alarm tells of
 * all of them: what changed is looked for around the time at which it opened.
 */
export function WhyLink({ alarm }: { alarm: Pick<Alarm, 'model' | 'environment' | 'kind' | 'what' | 'opened_at_ms'> }) {
  const [project, model] = (alarm.model ?? '').split('/');
  const metric = metricOf(alarm.kind);
  if (!project || !model || !metric) return null;
  const at = alarm.kind.startsWith('slo_') ? alarm.opened_at_ms : undefined;
  return (
    <Link to="/models/$project/$model" params={{ project, model }} search={{ tab: 'why', environment: alarm.environment ?? undefined, metric, at }} className="why-link" aria-label={`Why? ${alarm.what}`}>
      Why?
    </Link>
  );
}

/** A model's name that leads to it; the platform leads to its page. */
export function ModelName({ model, environment }: { model: string; environment: string | null | undefined }) {
  const [project, name] = model.split('/');
  if (!project || !name) return <Link to="/system" className="row-link">The platform</Link>;
  return (
    <Link to="/models/$project/$model" params={{ project, model: name }} search={{ environment: environment ?? undefined }} className="row-link">
      <span className="dim">{project}/</span>{name}
      {environment && <span className="dim"> {environment}</span>}
    </Link>
  );
}
