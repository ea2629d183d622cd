import { ActionIcon } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { type MouseEvent, useEffect, useRef } from 'react';
import { clock, exact } from '../../format';
import { Command } from '../../parts/Command';
import { Copy } from '../../parts/Copy';
import { Icon } from '../../parts/Icon';
import type { Happened } from './api';
import { kindTitle, sentence, toneOf } from './sentences';

/** One thing that happened, and on demand all that is written of it. Telemetry, which is in no ledger, looks lighter. */
export function EventLine({ event, isOpen, onOpen }: { event: Happened; isOpen: boolean; onOpen: (place: string | undefined) => void }) {
  const isTelemetry = event.seq === undefined;
  const tone = toneOf(event.kind);
  const line = useRef<HTMLLIElement>(null);
  const isFirst = useRef(isOpen);
  useEffect(() => {
    // Whoever follows a link to it sees it.
    if (isFirst.current) line.current?.scrollIntoView({ block: 'center' });
  }, []);
  const toggle = () => onOpen(isOpen ? undefined : event.place);
  const onClick = (click: MouseEvent) => {
    if (!(click.target as Element).closest('a, button') && getSelection()?.isCollapsed !== false) toggle();
  };
  return (
    <li ref={line} className="event" data-telemetry={isTelemetry || undefined} data-open={isOpen || undefined}>
      <div className="event-row" onClick={onClick}>
        <ActionIcon size="sm" aria-expanded={isOpen} aria-label={`${kindTitle(event.kind)}: all that is written`} onClick={toggle}>
          <Icon name={isOpen ? 'down' : 'right'} size={13} />
        </ActionIcon>
        <time className="event-time num" dateTime={new Date(event.at_ms).toISOString()} title={exact(event.at_ms)}>{clock(event.at_ms)}</time>
        <span className="event-sign" data-tone={tone}>{tone && <Icon name={tone === 'bad' ? 'alert' : 'check'} size={13} />}</span>
        <span className="event-subject cut"><Subject of={event.subject} /></span>
        <span className="event-text">{sentence(event)}</span>
        <span className="event-actor cut dim" title={event.actor}>{event.actor}</span>
      </div>
      {isOpen && <Details event={event} />}
    </li>
  );
}

function Subject({ of }: { of: string }) {
  const [project, model] = of.split('/');
  if (!project || !model) return <span className="dim">{of}</span>;
  return (
    <Link to="/models/$project/$model" params={{ project, model }} className="row-link" title={of}>
      {project !== 'default' && <span className="dim">{project}/</span>}{model}
    </Link>
  );
}

function Details({ event }: { event: Happened }) {
  const body = JSON.stringify(event.body, null, 2);
  return (
    <div className="event-details">
      <dl>
        <div><dt>Kind</dt><dd><code>{event.kind}</code></dd></div>
        <div><dt>When</dt><dd className="num">{exact(event.at_ms)}</dd></div>
        {event.principal && <div><dt>By</dt><dd><code>{String(event.principal)}</code></dd></div>}
        {event.seq === undefined
          ? <div><dt>Entry</dt><dd>none: it is telemetry, which is kept for 90 days and not in the ledger</dd></div>
          : <div><dt>Entry</dt><dd className="num">{event.seq}; number {event.subject_seq} of {event.subject}</dd></div>}
        {event.hash && <div><dt>Hash</dt><dd><code className="hash">{event.hash}</code><Copy text={event.hash} label="Copy the hash" /></dd></div>}
      </dl>
      <div className="event-json">
        <pre tabIndex={0} aria-label="What is written">{body}</pre>
        <Copy text={body} label="Copy the JSON" />
      </div>
      {event.seq !== undefined && <Command>{`decalog audit prove ${event.seq}`}</Command>}
    </div>
  );
}
