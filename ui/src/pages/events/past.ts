/** Reading backwards what can be asked for forwards only. Pure. */

export interface Filter {
  model?: string | undefined;
  kind?: string | undefined;
}

/** What is needed of an event here: telemetry has a place behind an entry, and no `seq`. */
interface Placed {
  place: string;
  seq?: number;
}

export type Read<Event> = (after: string, limit: number) => Promise<{ events: Event[]; more: boolean; next: string }>;

/** A stretch of the ledger to look through: so many entries up to one, or up to now. */
export interface Window {
  until: number | null;
  width: number;
}

export interface Past<Event> {
  /** The newest first. */
  events: Event[];
  /** Everything after this entry was looked through. */
  from: number;
  width: number;
  /** The place up to which it was looked. */
  newest: string;
}

const LIMIT = 1_000;

/** The entry that a place stands at or behind. */
export function seqOf(place: string): number {
  return Number(place.split('.')[0]);
}

/** Reads one window. Telemetry between its entries belongs to it; that behind its last one belongs to the next. */
export async function readPast<Event extends Placed>(ask: Read<Event>, { until, width }: Window, head: number): Promise<Past<Event>> {
  const from = Math.max(0, head - width);
  const found: Event[] = [];
  let after = String(from);
  for (;;) {
    const page = await ask(after, Math.min(LIMIT, Math.max(200, width * 2)));
    found.push(...page.events);
    const isThrough = !page.more || (until !== null && seqOf(page.next) >= until);
    after = page.next;
    if (isThrough) break;
  }
  const isMeant = (event: Event) => until === null || (event.seq === undefined ? seqOf(event.place) < until : event.seq <= until);
  return { events: found.filter(isMeant).reverse(), from, width, newest: until === null ? after : String(until) };
}

/**
 * The last entry behind which there is nothing that one may read. Steps grow until nothing is found, then they are halved:
 * some twenty short questions, once.
 */
export async function headOf<Event extends Placed>(ask: Read<Event>): Promise<number> {
  const isBehind = async (seq: number) => {
    const page = await ask(String(seq), 1);
    return page.events.length > 0 || page.more;
  };
  let [low, high] = [0, 256];
  while (await isBehind(high)) [low, high] = [high, high * 4];
  while (high - low > 64) {
    const middle = Math.floor((low + high) / 2);
    if (await isBehind(middle)) low = middle;
    else high = middle;
  }
  return high;
}
