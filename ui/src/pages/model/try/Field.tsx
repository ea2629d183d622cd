import { Select, Textarea, TextInput } from '@mantine/core';
import { boundsOf, type Column, isOptional, kindOf, pictureOf, typeOf } from './columns';
import { FileField } from './FileField';
import { Picture } from './Picture';

interface Props {
  column: Column;
  value: string;
  error: string | undefined;
  onChange: (value: string) => void;
}

/** A field for a column: what can be typed there follows from its type. */
export function Field(props: Props) {
  const { column, value, error, onChange } = props;
  const kind = kindOf(column);
  const shared = {
    label: <Label column={column} />, error, value, required: !isOptional(column), withAsterisk: false,
    onChange: (event: { currentTarget: { value: string } }) => onChange(event.currentTarget.value),
  };
  if (kind === 'choice' || kind === 'flag') return <Choice {...props} />;
  if (kind === 'json') return (
    <div className="try-wide">
      <Textarea {...shared} size="xs" autosize minRows={2} maxRows={12} spellCheck={false} classNames={{ input: 'try-code' }} placeholder="JSON" />
      {pictureOf(column) && <Picture column={column} value={value} onChange={onChange} />}
    </div>
  );
  if (kind === 'text') return <FileField {...shared} onText={onChange} placeholder={isOptional(column) ? leftOut(column) : undefined} spellCheck={false} autoComplete="off" />;
  const bounds = boundsOf(column.datatype);
  return (
    <TextInput
      {...shared} placeholder={isOptional(column) ? leftOut(column) : undefined} spellCheck={false} autoComplete="off"
      inputMode={kind === 'whole' && bounds?.[0] === 0n ? 'numeric' : kind === 'whole' || kind === 'number' ? 'text' : undefined}
      title={bounds ? `From ${bounds[0]} to ${bounds[1]}` : undefined}
    />
  );
}

function leftOut(column: Column): string {
  return column.default !== undefined && column.default !== null ? `left out: ${JSON.stringify(column.default)}` : 'left out: null';
}

function Label({ column }: { column: Column }) {
  return <>{column.name} <span className="dim try-type">{typeOf(column)}</span></>;
}

/** A few categories, or thousands: one types to find one. */
function Choice({ column, value, error, onChange }: Props) {
  const data = kindOf(column) === 'flag' ? ['true', 'false'] : [...new Set((column.categories ?? []).map(String))];
  return (
    <Select
      label={<Label column={column} />} error={error} data={data} value={value === '' ? null : value} limit={200}
      searchable={data.length > 8} clearable={isOptional(column)} allowDeselect={isOptional(column)}
      placeholder={isOptional(column) ? leftOut(column) : 'Choose'} onChange={(chosen) => onChange(chosen ?? '')}
    />
  );
}
