import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useLive } from '../../api/live';
import { answer, api, read, type Schema } from '../../api/client';
import { keys } from '../../api/keys';
import { type Filter, headOf, type Past, type Read, readPast, seqOf, type Window } from './past';

export type Happened = Schema<'Happened'>;
interface EventsPage {
  events: Happened[];
  more: boolean;
  next: string;
}

const NEWEST: Window = { until: null, width: 200 };
/** What came before an event that an address names is there, and a little after it. */
const AROUND = 40;

function reader(filter: Filter, signal: AbortSignal): Read<Happened> {
  return (after, limit) => read<EventsPage>('/v1/events', { after, limit, model: filter.model, kind: filter.kind }, signal);
}

/**
 * What happened, newest first, a window of the ledger at a time. The API pages forwards only, so each window is asked
 * for from its beginning. What is past does not change: it is not refetched when something new is written. `turn` begins again at the newest.
 */
export function usePast(filter: Filter, around: string | undefined, turn: number) {
  return useInfiniteQuery({
    queryKey: ['past', filter, around, turn],
    queryFn: async ({ pageParam, signal }): Promise<Past<Happened>> => {
      const ask = reader(filter, signal);
      return readPast(ask, pageParam, pageParam.until === null ? await head(ask, signal) : pageParam.until);
    },
    initialPageParam: around === undefined ? NEWEST : { until: seqOf(around) + AROUND, width: 200 },
    getNextPageParam: (last: Past<Happened>): Window | undefined =>
      // Where little was found, more is looked through at once.
      last.from > 0 ? { until: last.from, width: last.events.length < 20 ? Math.min(last.width * 4, 10_000) : last.width } : undefined,
    placeholderData: keepPreviousData,
    staleTime: Infinity,
    refetchOnWindowFocus: false,
  });
}

/** The number of the last entry. Who may not see all projects is not told it: they find the last one that they may read. */
async function head(ask: Read<Happened>, signal: AbortSignal): Promise<number> {
  const { ledger } = await answer(api.GET('/v1/status', { signal }));
  return ledger.entries ?? headOf(ask);
}

/** What came since a place. The live stream says when to look again; without one it is looked every 5 s. */
export function useNewer(filter: Filter, since: string | undefined) {
  const { mode } = useLive();
  return useQuery({
    queryKey: keys.events('newer', filter, since),
    queryFn: ({ signal }) => reader(filter, signal)(since ?? '0', 1_000),
    enabled: since !== undefined,
    refetchInterval: mode === 'streaming' ? 30_000 : 5_000,
  });
}

/** Checkpoints that were signed, the last ones first. The API lists them from the first on. */
export function useCheckpoints() {
  return useQuery({
    queryKey: keys.events('checkpoints'),
    queryFn: async ({ signal }) => {
      const found: Schema<'CheckpointListed'>[] = [];
      for (let after: number | undefined; ; ) {
        const page: Schema<'CheckpointsPage'> = await answer(api.GET('/v1/audit/checkpoints', { params: { query: after === undefined ? {} : { after } }, signal }));
        found.push(...page.checkpoints);
        after = page.checkpoints.at(-1)?.number;
        if (!page.more || after === undefined) return found.toReversed();
      }
    },
    staleTime: 60_000,
  });
}

export function verifyLedger() {
  return answer(api.GET('/v1/ledger/verify'));
}

/** Signs a checkpoint if entries came since the last, and gives the newest as a text. */
export function newestCheckpoint() {
  return answer(api.GET('/v1/audit/checkpoint', { parseAs: 'text' })) as Promise<string>;
}
