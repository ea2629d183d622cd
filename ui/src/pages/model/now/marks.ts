/** What happened to a model, as marks on an axis of time. Pure. */
import type { Schema } from '../../../api/client';
import type { Mark } from '../../../parts/ChartMarks';
import type { Happened, Released } from '../versions/history';

const CAUSES: Record<Schema<'Cause'>, string> = { deploy: 'deployed', release: 'released', rollback: 'rolled back', promote: 'promoted' };
const RULES_SAY = 'by rule';
/** Marks nearer than this share of the range lie on each other, and are drawn as one. */
const NEAR = 0.03;

export function releaseMarks(released: readonly Released[], environment: string, onClick: () => void): Mark[] {
  return released.filter((one) => one.environment === environment).map((one) => ({
    at: one.at,
    label: `${one.version} live`,
    explain: `${one.actor} ${CAUSES[one.cause]} it${one.previous ? `; ${one.previous} before` : ''}`,
    icon: one.cause === 'rollback' ? 'back' : 'play',
    onClick,
  }));
}

export function eventMarks(events: readonly Happened[], environment: string): Mark[] {
  return events.flatMap((event): Mark[] => {
    if (event.kind === 'scale_changed') {
      const { placement, record: { inputs, decision } } = event.body;
      if (placement.environment !== environment || inputs.current === decision.target) return [];
      return [{
        at: event.at_ms,
        label: `v${placement.version}: ${inputs.current} → ${decision.target} ${decision.target === 1 ? 'replica' : 'replicas'}`,
        explain: `${RULES_SAY} ${String(decision.rule).replaceAll('_', ' ')}; the load asks for ${decision.wanted}`,
        icon: decision.target > inputs.current ? 'up' : 'down',
      }];
    }
    if (event.kind === 'replica_failed') {
      const { placement, replica, reason } = event.body;
      if (placement.environment !== environment) return [];
      return [{ at: event.at_ms, label: `replica ${replica} of v${placement.version} ended`, explain: reason.slice(0, 200), icon: 'alert' }];
    }
    return [];
  });
}

/** When an alarm opened, and when it was over. Times that it was told again are left out. */
export function alarmMarks(changes: readonly Schema<'Change'>[], environment: string, onOpen: () => void): Mark[] {
  return changes.flatMap(({ alarm, change, at_ms: at }): Mark[] => {
    if ((alarm.environment ?? environment) !== environment || (change !== 'opened' && change !== 'resolved')) return [];
    return [{
      at,
      label: change === 'opened' ? `${alarm.severity}: ${alarm.kind.replaceAll('_', ' ')}` : `over: ${alarm.kind.replaceAll('_', ' ')}`,
      explain: alarm.what,
      icon: change === 'opened' ? 'alarm' : 'check',
      onClick: onOpen,
    }];
  });
}

/** Draws what lies on each other as one mark that tells all of it. Alarms and releases give it their icon first. */
export function gather(marks: readonly Mark[], from: number, to: number): Mark[] {
  const near = (to - from) * NEAR;
  const groups: Mark[][] = [];
  for (const mark of marks.filter(({ at }) => at >= from && at <= to).toSorted((a, b) => a.at - b.at)) {
    const last = groups.at(-1);
    if (last?.[0] && mark.at - last[0].at < near) last.push(mark);
    else groups.push([mark]);
  }
  return groups.map(asOne);
}

function asOne(group: readonly Mark[]): Mark {
  const first = group.find((mark) => mark.onClick) ?? group[0];
  if (!first || group.length === 1) return first ?? { at: 0, label: '' };
  const told = group.slice(0, 4).map((mark) => mark.label);
  const rest = group.length - told.length;
  return { ...first, label: `${group.length} events`, explain: `${told.join('; ')}${rest > 0 ? `; and ${rest} more` : ''}` };
}
