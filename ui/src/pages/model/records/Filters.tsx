import { Select, TextInput } from '@mantine/core';
import { useEffect, useState } from 'react';

export interface Filter {
  status?: string | undefined;
  version?: string | undefined;
  key?: string | undefined;
  where?: string | undefined;
}

const STATUSES = [
  { value: 'answered', label: 'Answered' },
  { value: 'failed', label: 'Failed' },
  ...['422', '429', '499', '500', '503', '504'].map((value) => ({ value, label: value })),
];

/** What is looked for. Choices count at once, texts with Enter or when one leaves them. */
export function Filters({ value, versions, onChange }: { value: Filter; versions: readonly string[]; onChange: (filter: Filter) => void }) {
  return (
    <div className="records-filters">
      <Select
        aria-label="Status" placeholder="Any status" w={126} clearable data={STATUSES} value={value.status ?? null}
        onChange={(status) => onChange({ status: status ?? undefined })}
      />
      <Select
        aria-label="Version" placeholder="Any version" w={126} clearable searchable data={[...versions]} value={value.version ?? null}
        onChange={(version) => onChange({ version: version ?? undefined })}
      />
      <Text label="Key" placeholder="customer=42" width={150} value={value.key ?? ''} onChange={(key) => onChange({ key })} />
      <Text label="Condition" placeholder="in.age > 60 and out.leave > 0.5" width={270} isCode value={value.where ?? ''} onChange={(where) => onChange({ where })} />
    </div>
  );
}

function Text({ label, placeholder, width, value, isCode, onChange }: {
  label: string;
  placeholder: string;
  width: number;
  value: string;
  isCode?: boolean;
  onChange: (text: string | undefined) => void;
}) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const tell = () => {
    if (text.trim() !== value) onChange(text.trim() || undefined);
  };
  return (
    <TextInput
      aria-label={label} placeholder={placeholder} w={width} value={text} spellCheck={false} autoComplete="off" className={isCode ? 'records-code' : undefined}
      onChange={(event) => setText(event.currentTarget.value)} onBlur={tell}
      onKeyDown={(event) => event.key === 'Enter' && tell()}
    />
  );
}
