import { Button, FileButton, TextInput, type TextInputProps } from '@mantine/core';
import { useState } from 'react';
import { encoded, sizeOf } from './bytes';

/** A field of a column of bytes: a text that is typed, or a file as it is. */
export function FileField({ value, onText, ...shared }: Omit<TextInputProps, 'value'> & { value: string; onText: (text: string) => void }) {
  const [name, setName] = useState('');
  const size = sizeOf(value);
  const read = async (file: File | null) => {
    if (!file) return;
    setName(file.name);
    onText(encoded(new Uint8Array(await file.arrayBuffer())));
  };
  return (
    <div className="try-bytes">
      <TextInput {...shared} value={size === null ? value : `${name || 'a file'}: ${size.toLocaleString('en')} bytes`} readOnly={size !== null} />
      {size === null
        ? <FileButton onChange={(file) => void read(file)}>{(props) => <Button {...props} variant="default">From a file…</Button>}</FileButton>
        : <Button variant="default" onClick={() => onText('')}>Text instead</Button>}
    </div>
  );
}
