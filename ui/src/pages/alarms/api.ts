import { useQuery } from '@tanstack/react-query';
import { answer, api, type Schema } from '../../api/client';
import { keys } from '../../api/keys';
import { queries } from '../../api/queries';

export type Alarm = Schema<'Alarm'>;
export type OpenAlarm = Schema<'AlarmListed'> & { silence: Schema<'Silence2'> | null };
export type Silence = Schema<'Silence2'>;
export type Receiver = Schema<'ReceiverListed'>;

export interface Alarms {
  open: OpenAlarm[];
  resolved: Alarm[];
  trouble: string | null;
  undelivered: string[];
}

/** Alarms that are open, and the last ones that are over. */
export function useAlarms() {
  return useQuery({
    queryKey: keys.alarms('all'),
    queryFn: async ({ signal }) => (await answer(api.GET('/v1/alarms', { params: { query: { all: true } }, signal }))) as Alarms,
    refetchInterval: 30_000,
  });
}

export function useSilences() {
  return useQuery({
    queryKey: keys.alarms('silences'),
    queryFn: ({ signal }) => answer(api.GET('/v1/silences', { signal })),
    refetchInterval: 60_000,
  });
}

/** Where alarms go. Only who administers the platform may read it. */
export function useReceivers() {
  return useQuery({
    queryKey: keys.alarms('receivers'),
    queryFn: ({ signal }) => answer(api.GET('/v1/alert-receivers', { signal })),
    refetchInterval: 30_000,
  });
}

async function changed<T>(call: Promise<T>): Promise<T> {
  const done = await call;
  await queries.invalidateQueries({ queryKey: keys.alarms() });
  return done;
}

export function silence(alarm: string, lengthMs: number, reason: string) {
  return changed(answer(api.POST('/v1/silences', { body: { alarm, for_ms: lengthMs, reason, model: null, environment: null, kind: null } })));
}

/** Ends the silences of an alarm or, with a model, all of that model. */
export function endSilences(of: { alarm: string } | { model: string }) {
  return changed(answer(api.DELETE('/v1/silences', { params: { query: of } })));
}

export function testReceiver(name: string) {
  return changed(answer(api.POST('/v1/alert-receivers/{name}/tests', { params: { path: { name } } })));
}

export function removeReceiver(name: string) {
  return changed(answer(api.DELETE('/v1/alert-receivers/{name}', { params: { path: { name } } })));
}
