import { Link } from '@tanstack/react-router';
import { useOpenAlarms } from '../../../api/alarms';
import { SeverityState } from '../../../parts/State';
import { Time } from '../../../parts/Time';
import { WhyLink } from '../../alarms/where';
import { rank } from '../../alarms/words';

/** More than these are on the page of alarms. */
const SHOWN_MAX = 3;

/** What is wrong with the model now, each with the way to what it comes from. */
export function OpenAlarms({ project, model, environment }: { project: string; model: string; environment: string }) {
  const { data } = useOpenAlarms();
  const name = `${project}/${model}`;
  const open = (data?.open ?? [])
    .filter((alarm) => alarm.model === name && (alarm.environment ?? environment) === environment)
    .toSorted((a, b) => rank(a.severity) - rank(b.severity) || a.since_ms - b.since_ms);
  if (open.length === 0) return null;
  return (
    <ul className="now-alarms" aria-label="Open alarms">
      {open.slice(0, SHOWN_MAX).map((alarm) => (
        <li key={alarm.id}>
          <SeverityState severity={alarm.severity} />
          <span className="now-alarm-what">{alarm.what} <span className="dim">since <Time at={alarm.since_ms} /></span></span>
          <WhyLink alarm={alarm} />
        </li>
      ))}
      {open.length > SHOWN_MAX && <li><Link to="/alarms" search={{ model: name }}>{open.length - SHOWN_MAX} more</Link></li>}
    </ul>
  );
}
