import { Link } from '@tanstack/react-router';
import { useId } from 'react';
import { share } from '../../../format';
import { Command } from '../../../parts/Command';
import { Icon } from '../../../parts/Icon';
import { Prose } from '../../../parts/Notices';
import type { Why } from './api';
import { NextPlace } from './NextPlace';
import { ShareChart } from './ShareChart';
import { type Branch, sentence } from './words';

/** One cause: its part of the change, the numbers that show it, what to do; and below it, what would not be without it. */
export function CauseItem({ branch, why }: { branch: Branch; why: Why }) {
  const { number, cause, told, follow } = branch;
  const id = useId();
  const title = sentence(told.title);
  const event = cause.reference.event;
  return (
    <li className="why-cause" aria-labelledby={id}>
      <div className="why-share">
        {cause.follows_from == null ? (
          <>
            <b className="num">{share(cause.share)}</b>
            <span className="why-bar" aria-hidden="true"><span style={{ width: `${Math.min(1, Math.max(0, cause.share)) * 100}%` }} /></span>
            <span className="dim small">of the change</span>
          </>
        ) : <span className="dim small">follows from {cause.follows_from}</span>}
      </div>
      <div className="why-body">
        <h3 id={id}><span className="why-number num">{number}</span> {title}</h3>
        {told.event && (
          <p className="why-event">
            <Icon name="events" size={13} />
            {event && /^\d+(\.\d+)?$/.test(event)
              ? <Link to="/events" search={{ model: `${why.project}/${why.model}`, at: event }}>{sentence(told.event)}</Link>
              : sentence(told.event)}
          </p>
        )}
        {told.detail && <p className="why-detail">{sentence(told.detail)}</p>}
        {cause.chart && <ShareChart title={`${title}: ${why.measure}`} chart={cause.chart} changedAt={why.changed_at} height={96} />}
        <div className="why-next">
          <NextPlace next={cause.next} why={why} />
          <Command>{told.next.command}</Command>
          <span className="dim"><Prose text={told.next.says} /></span>
        </div>
        {follow.length > 0 && <ol className="why-causes why-follow">{follow.map((one) => <CauseItem key={one.number} branch={one} why={why} />)}</ol>}
      </div>
    </li>
  );
}
