/** Bytes in JSON: text where they are UTF-8, else `{"b64": "…"}`. Pure. */

const ENCODED = /^\{"b64": ?"([A-Za-z0-9+/]*)={0,2}"\}$/;
/** The same within a row; texts cannot hold it, as their quotes are escaped. */
export const ENCODED_ANYWHERE = /\{"b64": ?"[A-Za-z0-9+/]*={0,2}"\}/g;
/** `String.fromCharCode` takes so many at a time everywhere. */
const AT_ONCE = 8_192;

/** Bytes as JSON has them. */
export function encoded(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += AT_ONCE) text += String.fromCharCode(...bytes.subarray(at, at + AT_ONCE));
  return `{"b64": "${btoa(text)}"}`;
}

/** How many bytes a text in JSON stands for; null if it is another. */
export function sizeOf(text: string): number | null {
  const match = ENCODED.exec(text);
  return match?.[1] === undefined ? null : Math.floor((match[1].length * 3) / 4);
}

/** The bytes of a value in an answer; null if it is not `{"b64": …}`. */
export function bytesOf(value: unknown): Uint8Array<ArrayBuffer> | null {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 1) return null;
  const { b64 } = value as { b64?: unknown };
  if (typeof b64 !== 'string') return null;
  try {
    return Uint8Array.from(atob(b64), (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}
