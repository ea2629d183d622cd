import { FileButton, Button, Select } from '@mantine/core';
import { useEffect, useMemo, useRef, useState } from 'react';
import { build, type Column, type Nested, pictureOf, written } from './columns';

type Size = NonNullable<ReturnType<typeof pictureOf>>;

const SCALES = [
  { value: '1', label: '0 to 1' },
  { value: '255', label: '0 to 255' },
  { value: '16', label: '0 to 16' },
  { value: '-1', label: '−1 to 1' },
];

/** Fills a column that has the shape of a picture from a file, and shows what the numbers look like. */
export function Picture({ column, value, onChange }: { column: Column; value: string; onChange: (value: string) => void }) {
  const size = useMemo(() => pictureOf(column), [column]);
  const [scale, setScale] = useState(() => (column.datatype.startsWith('UINT') ? '255' : '1'));
  const [wrong, setWrong] = useState<string | null>(null);
  if (!size) return null;
  const read = async (file: File | null) => {
    if (!file) return;
    try {
      onChange(written(toNumbers(await pixels(file, size), size, Number(scale), /INT/.test(column.datatype))));
      setWrong(null);
    } catch {
      setWrong(`${file.name} is no picture that this browser can read`);
    }
  };
  return (
    <div className="try-picture">
      <Preview value={value} size={size} />
      <FileButton onChange={(file) => void read(file)} accept="image/*">
        {(props) => <Button {...props} variant="default">From a picture…</Button>}
      </FileButton>
      <Select aria-label="Numbers of a picture" title="What black and white become" w={104} data={SCALES} value={scale} allowDeselect={false} onChange={(chosen) => chosen && setScale(chosen)} />
      <span className="dim small">{wrong ?? `made ${size.width} × ${size.height}, ${size.channels === 1 ? 'grey' : 'red, green, blue'}`}</span>
    </div>
  );
}

async function pixels(file: File, { width, height }: Size): Promise<Uint8ClampedArray> {
  const picture = await createImageBitmap(file, { resizeWidth: width, resizeHeight: height, resizeQuality: 'high' });
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  if (!context) throw new Error('no canvas');
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, width, height).data;
}

/** Pixels in the order of the shape: channels first, last, or none. */
function toNumbers(data: Uint8ClampedArray, { width, height, channels, isFirst }: Size, scale: number, isWhole: boolean): Nested {
  const level = (pixel: number, channel: number) => {
    const [r = 0, g = 0, b = 0] = data.subarray(pixel * 4, pixel * 4 + 3);
    const byte = channels === 3 ? ([r, g, b][channel] ?? 0) : 0.299 * r + 0.587 * g + 0.114 * b;
    const scaled = scale < 0 ? byte / 127.5 - 1 : (byte / 255) * scale;
    return isWhole ? Math.round(scaled) : Number(scaled.toFixed(4));
  };
  let at = 0;
  const all = width * height;
  if (isFirst) return build([channels, height, width], () => level(at % all, Math.floor(at++ / all)));
  if (channels === 1) return build([height, width], () => level(at++, 0));
  return build([height, width, 3], () => level(Math.floor(at / 3), at++ % 3));
}

/** The numbers as a picture, from the least to the greatest, so that their scale does not matter. */
function Preview({ value, size }: { value: string; size: Size }) {
  const ref = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = ref.current?.getContext('2d');
    const numbers = flat(value);
    const { width, height, channels, isFirst } = size;
    if (!context) return;
    context.clearRect(0, 0, width, height);
    if (numbers.length !== width * height * channels) return;
    let least = Infinity;
    let most = -Infinity;
    for (const number of numbers) {
      if (number < least) least = number;
      if (number > most) most = number;
    }
    const image = context.createImageData(width, height);
    for (let pixel = 0; pixel < width * height; pixel += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        const from = channels === 1 ? pixel : isFirst ? channel * width * height + pixel : pixel * 3 + channel;
        image.data[pixel * 4 + channel] = (((numbers[from] ?? 0) - least) / (most - least || 1)) * 255;
      }
      image.data[pixel * 4 + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }, [value, size]);
  return <canvas ref={ref} width={size.width} height={size.height} className="try-canvas" role="img" aria-label="The numbers as a picture" />;
}

function flat(value: string): number[] {
  try {
    const found: unknown = JSON.parse(value);
    return Array.isArray(found) ? (found.flat(4) as unknown[]).filter((one) => typeof one === 'number') : [];
  } catch {
    return [];
  }
}
