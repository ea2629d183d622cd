import { useQuery } from '@tanstack/react-query';
import { answer, api, type Schema } from '../../../api/client';
import { keys } from '../../../api/keys';
import { EMPTY_HISTORY, type Happened, readHistory } from './history';

const PAGES_MAX = 5;

/**
 * Events of a model, oldest first. They are read from the beginning, as the server has no other way; of a very long
 * history the last ones may be missing, which `isWhole` tells.
 */
export async function readEvents(project: string, model: string, kind: string, signal: AbortSignal): Promise<{ events: Happened[]; isWhole: boolean }> {
  const events: Happened[] = [];
  let after: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const query = { model: `${project}/${model}`, kind, ...(after ? { after } : {}) };
    // The other form, lines without end, is answered to `follow` alone.
    const part = (await answer(api.GET('/v1/events', { params: { query }, signal }))) as Schema<'EventsPage'>;
    events.push(...part.events);
    if (!part.more) return { events, isWhole: true };
    after = part.next;
  }
  return { events, isWhole: false };
}

/** What was released when and by whom, and what has a part of the traffic now. */
export function useHistory(project: string, model: string) {
  const { data } = useQuery({
    queryKey: keys.model(project, model, 'history'),
    queryFn: async ({ signal }) => {
      const { events, isWhole } = await readEvents(project, model, 'release,version', signal);
      return { ...readHistory(events), isWhole };
    },
    staleTime: 60_000,
  });
  return data ?? { ...EMPTY_HISTORY, isWhole: false };
}
