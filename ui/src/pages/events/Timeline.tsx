import { Button } from '@mantine/core';
import { useEffect, useMemo, useRef, useState } from 'react';
import { day } from '../../format';
import { Empty, Failed } from '../../parts/Notices';
import { Skeletons } from '../../parts/Skeletons';
import { type Happened, useNewer, usePast } from './api';
import { EventLine } from './EventLine';
import type { EventsSearch } from './search';

const ENOUGH = 30;
/** So many windows are looked through by itself for what is rare; then one is asked. */
const WINDOWS_MAX = 12;

/** What happened, newest first. What comes in is counted above, and moves nothing that is being read. */
export function Timeline({ search, onChange, onActors }: {
  search: EventsSearch;
  onChange: (change: EventsSearch) => void;
  onActors: (actors: readonly string[]) => void;
}) {
  const { model, kind, actor, at } = search;
  const filter = useMemo(() => ({ model, kind }), [model, kind]);
  const [turn, setTurn] = useState(0);
  // An event that the address named when the page was opened is where to begin; those that are opened later are not.
  const [around, setAround] = useState(at);
  const { data, error, isFetchingNextPage, hasNextPage, fetchNextPage, refetch } = usePast(filter, around, turn);

  const all = useMemo(() => data?.pages.flatMap((page) => page.events) ?? [], [data]);
  const shown = useMemo(() => (actor === undefined ? all : all.filter((event) => event.actor === actor)), [all, actor]);
  const newest = data?.pages[0]?.newest;
  const { data: newer } = useNewer(filter, newest);
  const fresh = newer?.events.filter((event) => actor === undefined || event.actor === actor).length ?? 0;
  const from = data?.pages.at(-1)?.from ?? 0;

  const actors = useMemo(() => [...new Set(all.map((event) => event.actor))], [all]);
  useEffect(() => onActors(actors), [actors, onActors]);
  useEffect(() => {
    if (data && shown.length < ENOUGH && data.pages.length < WINDOWS_MAX && hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [data, shown.length, hasNextPage, isFetchingNextPage, fetchNextPage]);

  const toNewest = () => {
    setAround(undefined);
    setTurn((count) => count + 1);
    onChange({ at: undefined });
    document.querySelector('.page')?.scrollTo({ top: 0 });
  };

  if (error && !data) return <Failed problem={error} onRetry={() => void refetch()} />;
  if (!data) return <Skeletons lines={12} />;
  return (
    <div className="events">
      {fresh > 0 && (
        <div className="events-new" role="status">
          <Button size="compact-sm" onClick={toNewest}>{newer?.more ? 'Over 1,000' : fresh} new</Button>
        </div>
      )}
      {shown.length === 0 && !hasNextPage && <Empty icon="events" title={model || kind || actor ? 'Nothing like that has happened' : 'Nothing has happened that you may see'} command="decalog events -f" />}
      <Days events={shown} open={at} onOpen={(place) => onChange({ at: place })} />
      <Earlier hasMore={hasNextPage} isBusy={isFetchingNextPage} from={from} onMore={() => void fetchNextPage()} />
    </div>
  );
}

function Days({ events, open, onOpen }: { events: readonly Happened[]; open: string | undefined; onOpen: (place: string | undefined) => void }) {
  const days = useMemo(() => {
    const found: { day: string; events: Happened[] }[] = [];
    for (const event of events) {
      const last = found.at(-1);
      const of = day(event.at_ms);
      if (last?.day === of) last.events.push(event);
      else found.push({ day: of, events: [event] });
    }
    return found;
  }, [events]);
  const today = day(Date.now());
  return days.map((one, at) => (
    <section key={`${one.day} ${at}`} aria-label={one.day}>
      <h2 className="events-day">{one.day === today ? 'Today' : one.day}</h2>
      <ol className="events-list">
        {one.events.map((event) => <EventLine key={event.place} event={event} isOpen={open === event.place} onOpen={onOpen} />)}
      </ol>
    </section>
  ));
}

/** The end of what was read: more is read when it comes near, or by the button. */
function Earlier({ hasMore, isBusy, from, onMore }: { hasMore: boolean; isBusy: boolean; from: number; onMore: () => void }) {
  const ref = useRef<HTMLDivElement>(null);
  const more = useRef(onMore);
  more.current = onMore;
  useEffect(() => {
    const sign = ref.current;
    if (!sign || !hasMore || isBusy) return;
    const watch = new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) more.current(); }, { rootMargin: '300px' });
    watch.observe(sign);
    return () => watch.disconnect();
  }, [hasMore, isBusy]);
  return (
    <div ref={ref} className="events-end dim">
      {hasMore ? (
        <>
          <Button variant="default" loading={isBusy} onClick={onMore}>Earlier</Button>
          <span>looked back to entry {from.toLocaleString('en')}</span>
        </>
      ) : 'This is the beginning.'}
    </div>
  );
}
