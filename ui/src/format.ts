/**
 * Numbers and times as people read them. All functions are pure, and show `–` for what is not known.
 * Three digits are enough to compare, and few enough to be quick to read.
 */

export const NOTHING = '–';
type Maybe = number | null | undefined;

/** What a number counts. */
export type Unit = 'rate' | 'ms' | 'bytes' | 'share' | 'count' | 'plain';

function known(value: Maybe): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

/** Three digits: 0.123, 4.56, 78.9, 1,234. */
export function plain(value: Maybe): string {
  if (!known(value)) return NOTHING;
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 1e6 || size < 1e-3) return scaled(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

function scaled(value: number): string {
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(1).replace('e', ' × 10^');
  const [by, name] = size >= 1e9 ? ([1e9, ' G'] as const) : ([1e6, ' M'] as const);
  return `${plain(value / by)}${name}`;
}

/** Whole things: 1,234. */
export function count(value: Maybe): string {
  return known(value) ? Math.round(value).toLocaleString('en') : NOTHING;
}

/** A number of things with their name: `1 model`, `3 models`. */
export function countOf(value: Maybe, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Times a second: 412/s, 0.25/s. */
export function rate(value: Maybe): string {
  if (!known(value)) return NOTHING;
  return value === 0 ? '0/s' : value < 0.01 ? '<0.01/s' : `${plain(value)}/s`;
}

/** How long something takes, from milliseconds: 0.42 ms, 7.9 ms, 1.3 s, 4 min. */
export function ms(value: Maybe): string {
  if (!known(value)) return NOTHING;
  const size = Math.abs(value);
  if (size === 0) return '0 ms';
  if (size < 0.01) return '<0.01 ms';
  if (size < 999.5) return `${value.toLocaleString('en', { maximumSignificantDigits: size < 100 ? 2 : 3 })} ms`;
  if (size < 99_950) return `${(value / 1000).toLocaleString('en', { maximumSignificantDigits: size < 9_950 ? 2 : 3 })} s`;
  return span(value);
}

/** A long time in its two largest units: 3 min, 2 h 5 min, 4 d 3 h. */
export function span(value: Maybe): string {
  if (!known(value)) return NOTHING;
  const seconds = Math.round(Math.abs(value) / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 10 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** How large something is: 512 B, 1.2 MB. */
export function bytes(value: Maybe): string {
  if (!known(value)) return NOTHING;
  const names = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];
  let size = value;
  let at = 0;
  while (Math.abs(size) >= 999.5 && at < names.length - 1) {
    size /= 1000;
    at += 1;
  }
  return `${at === 0 ? Math.round(size) : size.toLocaleString('en', { maximumSignificantDigits: 3 })} ${names[at]}`;
}

/** A share of all, from 0 to 1: 0%, 0.004%, 0.42%, 12%. Never 0% for something, never 100% for less than all. */
export function share(value: Maybe): string {
  if (!known(value)) return NOTHING;
  const percent = value * 100;
  const size = Math.abs(percent);
  if (size === 0) return '0%';
  if (size < 0.001) return '<0.001%';
  if (size < 100 && size >= 99.95) return '>99.9%';
  const digits = size >= 10 ? 1 : size >= 0.1 ? 2 : 3;
  return `${percent.toLocaleString('en', { maximumFractionDigits: digits })}%`;
}

const BY_UNIT: Record<Unit, (value: Maybe) => string> = { rate, ms, bytes, share, count, plain };

/** A number in a unit. */
export function inUnit(value: Maybe, unit: Unit): string {
  return BY_UNIT[unit](value);
}

/** How long ago, or in how long: `just now`, `5 s ago`, `in 3 min`. */
export function relative(at: Maybe, now: number): string {
  if (!known(at)) return NOTHING;
  const difference = now - at;
  if (Math.abs(difference) < 1_500) return 'just now';
  return difference > 0 ? `${coarse(difference)} ago` : `in ${coarse(-difference)}`;
}

function coarse(value: number): string {
  const hours = value / 3_600_000;
  if (hours < 1) return span(value);
  return hours < 24 ? `${Math.floor(hours)} h` : `${Math.floor(hours / 24)} d`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** The time of day in the reader's zone: 14:05:10. */
export function clock(at: number): string {
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** The day in the reader's zone: 2026-03-08. */
export function day(at: number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The day and the time; on the day of `now` the time alone. */
export function moment(at: Maybe, now: number): string {
  if (!known(at)) return NOTHING;
  return day(at) === day(now) ? clock(at) : `${day(at)} ${clock(at).slice(0, 5)}`;
}

/** All there is to know of a time: 2026-03-08 14:05:10.123 (UTC+01:00). */
export function exact(at: number): string {
  const date = new Date(at);
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? '−' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${day(at)} ${clock(at)}.${String(date.getMilliseconds()).padStart(3, '0')} (UTC${zone})`;
}
