/** Lines of a log, and how bad each is. Pure. */

export type Level = 'error' | 'warning' | 'info' | 'debug';

export interface LogLine {
  /** Its place in what was read, from 0. */
  at: number;
  text: string;
  level: Level | null;
  /** Whether the word is shown: at the line that has it, not at those that belong to it. */
  isFirst: boolean;
}

const WORDS: readonly [RegExp, Level][] = [
  [/\b(ERROR|CRITICAL|FATAL|PANIC)\b|^Traceback \(most recent call last\)|^panic:|^thread '.*' panicked/, 'error'],
  [/\bWARN(ING)?\b|\b[A-Z]\w*Warning: /, 'warning'],
  [/\bINFO\b/, 'info'],
  [/\b(DEBUG|TRACE)\b/, 'debug'],
];
/** The last line of a traceback: `ValueError: no such route`. */
const RAISED = /^([a-z_]\w*\.)*[A-Z]\w*(Error|Exception|Interrupt|Exit)\b(:|$)/;

function levelOf(text: string): Level | null {
  return WORDS.find(([pattern]) => pattern.test(text))?.[1] ?? null;
}

/** What is indented below an error, and the last line of a traceback, belong to it. */
export function readLines(text: string): LogLine[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  let open: Level | null = null;
  let isTraceback = false;
  return lines.map((line, at) => {
    const own = levelOf(line);
    const starts = line.startsWith('Traceback ');
    if (own !== null && !(starts && open === 'error')) {
      open = own;
      isTraceback = starts;
      return { at, text: line, level: own, isFirst: true };
    }
    isTraceback ||= starts;
    const belongs = /^\s/.test(line) || starts || line === '' || (isTraceback && RAISED.test(line));
    if (RAISED.test(line)) isTraceback = false;
    if (belongs && open !== null) return { at, text: line, level: open, isFirst: false };
    open = RAISED.test(line) ? 'error' : null;
    return { at, text: line, level: open, isFirst: open !== null };
  });
}

/** Those that have all words; of a level, those that are at least so bad. */
export function filterLines(lines: readonly LogLine[], search: string, level: 'all' | 'warning' | 'error'): readonly LogLine[] {
  const words = search.toLowerCase().split(/\s+/).filter((word) => word !== '');
  if (words.length === 0 && level === 'all') return lines;
  return lines.filter((line) => {
    if (level === 'error' && line.level !== 'error') return false;
    if (level === 'warning' && line.level !== 'error' && line.level !== 'warning') return false;
    const text = line.text.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
