import { keys, keysAbout } from '../keys';
import { queries } from '../queries';

/** Lists of everything are long: they are not refetched more often than this. */
const LISTS_MS = 3_000;

let listsAt = 0;
let listsTimer: ReturnType<typeof setTimeout> | undefined;

/** Refetches the lists of all models and of events, soon, and once for many calls. */
export function refetchLists(): void {
  if (listsTimer !== undefined) return;
  listsTimer = setTimeout(
    () => {
      listsTimer = undefined;
      listsAt = Date.now();
      void queries.invalidateQueries({ queryKey: keys.models });
      void queries.invalidateQueries({ queryKey: keys.events() });
    },
    Math.max(0, listsAt + LISTS_MS - Date.now()),
  );
}

/** Refetches what is shown about subjects of which entries were written. */
export function refetchAbout(subjects: readonly string[]): void {
  for (const key of new Set(subjects.flatMap(keysAbout))) void queries.invalidateQueries({ queryKey: key });
  refetchLists();
}

export function refetchAlarms(): void {
  void queries.invalidateQueries({ queryKey: keys.alarms() });
  refetchLists();
}

/** After a time without the server nothing that is shown is known to be so. */
export function refetchAll(): void {
  void queries.invalidateQueries();
}
