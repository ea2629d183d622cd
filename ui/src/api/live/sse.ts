/** One event of a `text/event-stream`. */
export interface StreamEvent {
  event: string;
  data: string;
  /** The last `id` that the stream gave, to go on from. */
  id: string | null;
}

/** Reads a `text/event-stream` piece by piece, wherever the pieces are cut. Pure. */
export function createParser(tell: (event: StreamEvent) => void): (piece: string) => void {
  let rest = '';
  let event = 'message';
  let data: string[] = [];
  let id: string | null = null;

  function line(text: string) {
    if (text === '') {
      if (data.length > 0) tell({ event, data: data.join('\n'), id });
      event = 'message';
      data = [];
      return;
    }
    const colon = text.indexOf(':');
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    else if (field === 'data') data.push(value);
    else if (field === 'id') id = value;
  }

  return (piece) => {
    const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    lines.forEach(line);
  };
}
