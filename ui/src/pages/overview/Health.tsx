import { Link } from '@tanstack/react-router';
import { useOpenAlarms } from '../../api/alarms';
import { countOf } from '../../format';
import { State } from '../../parts/State';

/** Whether all is well, in one word; what is not leads to the alarms. */
export function Health() {
  const { data } = useOpenAlarms();
  if (!data) return null;
  const { open } = data;
  if (open.length === 0) return <State tone="good" plain>no alarm is open</State>;
  const alerts = open.filter((alarm) => alarm.severity === 'alert');
  const meant = alerts.length > 0 ? alerts : open;
  const models = new Set(meant.map((alarm) => alarm.model ?? '')).size;
  const is = models === 1 ? 'is' : 'are';
  const whom = meant.some((alarm) => alarm.model === null) ? countOf(meant.length, 'alarm') : countOf(models, 'model');
  const isSevere = alerts.length > 0 || open.some((alarm) => alarm.severity === 'warning');
  return (
    <Link to="/alarms">
      <State tone={alerts.length > 0 ? 'bad' : isSevere ? 'warning' : 'busy'} {...(isSevere ? {} : { icon: 'info' as const })}>
        {alerts.length > 0 ? `${whom} ${is} in trouble` : `${whom} ${is} worth a look`}
      </State>
    </Link>
  );
}
