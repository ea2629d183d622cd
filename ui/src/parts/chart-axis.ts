/** How the axes of a chart are labelled. Pure. */
import { day, clock, inUnit, type Unit } from '../format';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Labels for times in seconds: the time of day, and the date where a day begins. */
export function timeLabels(splits: readonly number[]): string[] {
  const step = (splits[1] ?? 0) - (splits[0] ?? 0);
  let lastDay = '';
  return splits.map((second) => {
    const at = second * 1000;
    const date = new Date(at);
    const today = day(at);
    const isNew = today !== lastDay;
    const wasEmpty = lastDay === '';
    lastDay = today;
    const name = `${date.getDate()} ${MONTHS[date.getMonth()]}`;
    if (step >= 86_400) return name;
    const time = step < 60 ? clock(at) : clock(at).slice(0, 5);
    return isNew && !wasEmpty ? name : time;
  });
}

export function valueLabels(splits: readonly number[], unit: Unit): string[] {
  return splits.map((value) => inUnit(value, unit));
}
