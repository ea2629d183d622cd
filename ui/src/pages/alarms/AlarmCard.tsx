import { Tooltip } from '@mantine/core';
import { useState } from 'react';
import { ActionButton } from '../../parts/ActionButton';
import { Command } from '../../parts/Command';
import { Prose } from '../../parts/Notices';
import { SeverityState, State } from '../../parts/State';
import { Time } from '../../parts/Time';
import type { OpenAlarm } from './api';
import { SilenceDialog } from './SilenceDialog';
import { Where, WhyLink } from './where';
import { kindTitle, sure } from './words';

/** One open alarm: what is so, how sure that is, and what to do about it. */
export function AlarmCard({ alarm }: { alarm: OpenAlarm }) {
  const [isAsking, setAsking] = useState(false);
  const confidence = sure(alarm.confidence);
  const object = alarm.model ? (alarm.environment ? `${alarm.model}@${alarm.environment}` : alarm.model) : '*';
  return (
    <li className="alarm" data-silenced={alarm.silence ? true : undefined}>
      <div className="alarm-severity"><SeverityState severity={alarm.severity} /></div>
      <div className="alarm-body">
        <p className="alarm-what"><Prose text={alarm.what} /></p>
        <p className="facts">
          <span>{kindTitle(alarm.kind)}{alarm.subject && `: ${alarm.subject}`}</span>
          <span>since <Time at={alarm.since_ms} /></span>
          <Tooltip label={confidence.sentence}><span tabIndex={0} className="fact-explained">{confidence.word}</span></Tooltip>
          {alarm.version !== null && <span>v{alarm.version}</span>}
          {alarm.columns && alarm.columns.length > 0 && <span>columns {alarm.columns.slice(0, 5).join(', ')}{alarm.columns.length > 5 && ` and ${alarm.columns.length - 5} more`}</span>}
          {alarm.flaps > 0 && <span>came back {alarm.flaps === 1 ? 'once' : `${alarm.flaps} times`}</span>}
          <code title="Its identifier">{alarm.id.slice(0, 6)}</code>
        </p>
        {alarm.silence && (
          <p className="facts">
            <State tone="quiet" plain icon="pause">silenced by {alarm.silence.by}, ends <Time at={alarm.silence.until_ms} /></State>
            {alarm.silence.reason && <span>{alarm.silence.reason}</span>}
          </p>
        )}
        <div className="alarm-next">
          <WhyLink alarm={alarm} />
          <Where alarm={alarm} />
          <Command>{alarm.next}</Command>
        </div>
      </div>
      <div className="alarm-act">
        {!alarm.silence && (
          <ActionButton action={alarm.model ? 'steer' : 'administer'} object={object} variant="default" onAct={() => setAsking(true)}>Silence</ActionButton>
        )}
      </div>
      <SilenceDialog alarm={alarm} opened={isAsking} onClose={() => setAsking(false)} />
    </li>
  );
}
