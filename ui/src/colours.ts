/** Colours of data. Each series has a dash, too: no colour says something alone. */

/** Okabe and Ito's colours, which people with any colour vision tell apart. The last one is the text's. */
export const SERIES = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#7d8794'] as const;
/**
 * Their hues on a dark page, with more space between their lightness: there the originals look alike without colour, and two
 * of them with a colour vision deficiency. `tests/test_dashboard_pages.py` holds all to a least distance, by any eye.
 */
export const SERIES_DARK = ['#0c7fc1', '#e56c14', '#57e298', '#fbc9ef', '#f7c629', '#62a9ca', '#6c7581'] as const;

export const DASHES: readonly (readonly number[])[] = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4], [1, 2]];

/** Cividis, for an order of values from little to much. */
const CIVIDIS = [
  [0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56],
] as const;

/** The colour of cividis for a share from 0 to 1. */
export function cividis(value: number): string {
  const at = Math.min(1, Math.max(0, value)) * (CIVIDIS.length - 1);
  const low = CIVIDIS[Math.floor(at)] ?? CIVIDIS[0];
  const high = CIVIDIS[Math.ceil(at)] ?? low;
  const mix = at - Math.floor(at);
  const [r, g, b] = low.map((channel, index) => Math.round(channel + ((high[index] ?? channel) - channel) * mix));
  return `rgb(${r} ${g} ${b})`;
}

export function seriesColour(index: number, isDark: boolean): string {
  const colours = isDark ? SERIES_DARK : SERIES;
  return colours[index % colours.length] ?? colours[0];
}

export function seriesDash(index: number): readonly number[] {
  return DASHES[index % DASHES.length] ?? [];
}
