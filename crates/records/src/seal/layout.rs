//! The columns of a file, which its records decide, and their rows.

use std::io;
use std::sync::Arc;

use arrow_array::types::{TimestampMicrosecondType, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, PrimitiveArray, RecordBatch, StringArray};
use arrow_schema::{Field, Schema as ArrowSchema, SchemaRef};
use domain::Datatype;
use protocol::record::{Definition, Kept, RecordIn, ValuesIn};
use protocol::tensor::{byte_elements, elements};

use super::{Weighted, id_text, time_ms};
use crate::columns;
use crate::keys::keys_of;
use crate::values::{RowValues, Values};

/// Which columns a file has: known once all its records were seen, before the first is written.
pub struct Layout<'d> {
    definition: &'d Definition,
    /// The inputs as the schema has them, then the outputs as they came.
    columns: Vec<Column>,
    keys: usize,
}

/// Values of a kind under a name.
struct Column {
    name: String,
    datatype: Datatype,
    /// Whether each row has one element; else each has a list.
    is_scalar: bool,
    /// Whether a list is all that is to be known of each row.
    is_flat: bool,
    /// Of bytes: whether all are text.
    is_text: bool,
}

impl Column {
    fn new(name: String, datatype: Datatype, is_scalar: bool) -> Column {
        Column { name, datatype, is_scalar, is_flat: true, is_text: true }
    }

    /// Whether it takes such a row.
    fn fits(&self, datatype: Datatype, shape: &[usize]) -> bool {
        self.datatype == datatype && (!self.is_scalar || elements(shape) == Some(1))
    }

    /// Whether it is one of an output.
    fn is_of(&self, output: &str) -> bool {
        let name = self.name.strip_prefix(columns::OUTPUT).and_then(|it| it.strip_prefix(output));
        name.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }

    fn see(&mut self, shape: &[usize], data: &[u8]) {
        self.is_flat &= self.is_scalar || shape.len() == 1;
        if self.datatype.size().is_none() && self.is_text {
            self.is_text = byte_elements(data).all(|element| std::str::from_utf8(element).is_ok());
        }
    }

    fn values(&self) -> Values {
        Values::new(self.datatype, self.is_scalar, self.is_text)
    }

    fn shapes(&self) -> Option<Field> {
        (!self.is_scalar && !self.is_flat)
            .then(|| Field::new(format!("{}:shape", self.name), Values::shapes_type(), true))
    }
}

impl<'d> Layout<'d> {
    /// That of no records yet.
    pub fn new(definition: &'d Definition) -> Layout<'d> {
        let columns = definition.schema.inputs.iter().map(|column| {
            let is_scalar = column.shape.as_ref().is_some_and(Vec::is_empty);
            Column::new(format!("{}{}", columns::INPUT, column.name), column.datatype, is_scalar)
        });
        Layout { definition, columns: columns.collect(), keys: 0 }
    }

    /// Takes in what a record has.
    pub fn see(&mut self, record: &RecordIn<'_>) {
        let inputs = self.definition.schema.inputs.len();
        for (column, input) in self.columns[..inputs].iter_mut().zip(&record.inputs) {
            column.see(&input.shape, input.data);
        }
        for output in &record.outputs {
            let Some((datatype, shape)) = self.kind_of(output, record) else { continue };
            let at = self.place_of(output.name, datatype, shape).unwrap_or_else(|| {
                self.columns.push(self.new_column(output.name, datatype, shape));
                self.columns.len() - 1
            });
            self.columns[at].see(shape, output.data);
        }
        let keys = keys_of(self.definition, record, rows_of(record));
        self.keys += keys.iter().filter(|key| !key.is_empty()).count();
    }

    /// Rows that have a key.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// All columns, those that every file has first.
    pub fn schema(&self) -> SchemaRef {
        let mut fields = columns::fixed();
        for column in &self.columns {
            let datatype = Values::array_type(column.datatype, column.is_scalar, column.is_text);
            fields.push(Arc::new(Field::new(&column.name, datatype, true)));
            fields.extend(column.shapes().map(Arc::new));
        }
        Arc::new(ArrowSchema::new(fields))
    }

    /// The rows of some records.
    pub fn batch(&self, schema: &SchemaRef, records: &[Weighted]) -> io::Result<RecordBatch> {
        let inputs = &self.definition.schema.inputs;
        let mut values: Vec<Values> = self.columns.iter().map(Column::values).collect();
        let mut before = 0;
        for Weighted { record, .. } in records {
            let rows = record.head.rows as usize;
            for (at, input) in record.inputs.iter().enumerate().take(inputs.len()) {
                let (shape, column) = (input.shape.as_slice(), &self.columns[at]);
                let fits = column.fits(column.datatype, shape);
                let row = Rows { datatype: column.datatype, shape, fits, rows };
                row.push(&mut values[at], input.data, input.valid);
            }
            for output in &record.outputs {
                let Some((datatype, shape)) = self.kind_of(output, record) else { continue };
                let Some(at) = self.place_of(output.name, datatype, shape) else { continue };
                // The same name may come twice.
                if values[at].rows() == before {
                    let row = Rows { datatype, shape, fits: true, rows };
                    row.push(&mut values[at], output.data, valid_of(output, record));
                }
            }
            before += rows_of(record);
            values.iter_mut().for_each(|values| values.fill_to(before));
        }
        let mut arrays = fixed_columns(self.definition, records);
        for (column, values) in self.columns.iter().zip(values) {
            let (array, shapes) = values.finish();
            arrays.push(array);
            arrays.extend(shapes.filter(|_| column.shapes().is_some()));
        }
        RecordBatch::try_new(schema.clone(), arrays).map_err(io::Error::other)
    }

    /// The type of an output, and the shape of a row; `None` for what is no column.
    fn kind_of<'r>(
        &self,
        output: &'r ValuesIn<'_>,
        record: &RecordIn<'_>,
    ) -> Option<(Datatype, &'r [usize])> {
        let datatype = output.datatype.filter(|_| !output.name.ends_with(":valid"))?;
        let (leading, shape) = output.shape.split_first()?;
        let declared = self.declared(output.name).map(|column| column.datatype);
        // An integer may come where a float is declared: its bytes are no float's.
        let same = |it: &Datatype| it.wire_name() == datatype.wire_name();
        let datatype = declared.filter(same).unwrap_or(datatype);
        (*leading == record.head.rows as usize).then_some((datatype, shape))
    }

    fn declared(&self, output: &str) -> Option<&domain::Column> {
        self.definition.schema.outputs.iter().find(|column| column.name == output)
    }

    /// The column of an output: the first of this name that takes its type.
    fn place_of(&self, output: &str, datatype: Datatype, shape: &[usize]) -> Option<usize> {
        let inputs = self.definition.schema.inputs.len();
        let fits = |column: &Column| column.is_of(output) && column.fits(datatype, shape);
        self.columns[inputs..].iter().position(fits).map(|at| at + inputs)
    }

    /// Another type under the same name has a column of its own.
    fn new_column(&self, output: &str, datatype: Datatype, shape: &[usize]) -> Column {
        let is_scalar = match self.declared(output).and_then(|column| column.shape.as_ref()) {
            Some(declared) => declared.is_empty() && shape.is_empty(),
            None => shape.is_empty(),
        };
        let name = format!("{}{output}", columns::OUTPUT);
        let inputs = self.definition.schema.inputs.len();
        let is_free = |name: &String| !self.columns[inputs..].iter().any(|it| it.name == *name);
        // Of a type there is one column of single elements at most, and one of lists.
        let names = [name.clone(), format!("{name}:{datatype}"), format!("{name}:{datatype}[]")];
        let name = names.into_iter().find(is_free).unwrap_or(name);
        Column::new(name, datatype, is_scalar)
    }
}

/// Which rows of an output have a value.
fn valid_of<'r>(output: &ValuesIn<'r>, record: &RecordIn<'r>) -> Option<&'r [u8]> {
    let is_valid = |other: &&ValuesIn<'_>| other.name.strip_suffix(":valid") == Some(output.name);
    output.valid.or(record.outputs.iter().find(is_valid).map(|valid| valid.data))
}

/// The Parquet rows of a record: each row whose values are there, else one for all of them.
fn rows_of(record: &RecordIn<'_>) -> usize {
    match record.head.kept {
        Kept::Whole => (record.head.rows as usize).max(1),
        _ => 1,
    }
}

/// The rows of a column of a record.
struct Rows<'r> {
    datatype: Datatype,
    /// Of one row.
    shape: &'r [usize],
    /// Whether the column takes them.
    fits: bool,
    rows: usize,
}

impl Rows<'_> {
    /// Adds them to a column. What is missing of damaged bytes is null.
    fn push(&self, values: &mut Values, data: &[u8], valid: Option<&[u8]>) {
        let per_row = elements(self.shape).unwrap_or(0);
        let mut rest = data;
        for row in 0..self.rows {
            let bytes = match self.datatype.size() {
                Some(size) => per_row * size,
                None => byte_elements(rest).take(per_row).map(|element| 4 + element.len()).sum(),
            };
            let (own, tail) = rest.split_at(bytes.min(rest.len()));
            rest = tail;
            let is_valid = valid.is_none_or(|valid| valid.get(row).is_some_and(|byte| *byte != 0));
            match is_valid && self.fits && own.len() == bytes {
                true => values.push(&RowValues { shape: self.shape, data: own }),
                false => values.push_null(),
            }
        }
    }
}

/// The columns that every file has, in the order of [`columns::fixed`].
fn fixed_columns(definition: &Definition, records: &[Weighted]) -> Vec<ArrayRef> {
    let rows: Vec<(&Weighted, u32)> = records
        .iter()
        .flat_map(|kept| (0..rows_of(&kept.record) as u32).map(move |row| (kept, row)))
        .collect();
    let heads = || rows.iter().map(|(kept, _)| &kept.record.head);
    let keys: Vec<String> = records
        .iter()
        .flat_map(|kept| keys_of(definition, &kept.record, rows_of(&kept.record)))
        .collect();
    let placement = &definition.placement;
    let constant = |text: String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows.len())))
    };
    let text = |texts: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from_iter_values(texts)) };
    let some = |texts: Vec<&str>| -> ArrayRef {
        let texts = texts.into_iter().map(|text| Some(text).filter(|text| !text.is_empty()));
        Arc::new(texts.collect::<StringArray>())
    };
    let number = |numbers: Vec<u32>| -> ArrayRef {
        Arc::new(PrimitiveArray::<UInt32Type>::from_iter_values(numbers))
    };
    let ids = heads().map(|head| id_text(&head.id));
    let times = heads().map(|head| time_ms(&head.id) as i64 * 1_000);
    let traces =
        heads().map(|head| Some(hex::encode(head.trace)).filter(|_| head.trace != [0; 16]));
    vec![
        Arc::new(StringArray::from_iter_values(ids)),
        number(rows.iter().map(|(_, row)| *row).collect()),
        number(heads().map(|head| head.rows).collect()),
        Arc::new(
            PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(times)
                .with_timezone("UTC"),
        ),
        constant(placement.model.project.to_string()),
        constant(placement.model.model.to_string()),
        constant(placement.environment.to_string()),
        constant(placement.version.to_string()),
        constant(placement.digest.to_string()),
        number(rows.iter().map(|_| placement.revision).collect()),
        Arc::new(PrimitiveArray::<UInt64Type>::from_iter_values(heads().map(|head| head.epoch))),
        text(heads().map(|head| head.reference).collect()),
        some(heads().map(|head| head.replica).collect()),
        some(heads().map(|head| head.principal).collect()),
        some(keys.iter().map(String::as_str).collect()),
        number(heads().map(|head| head.total_us).collect()),
        number(heads().map(|head| head.queue_us).collect()),
        number(heads().map(|head| head.worker_us).collect()),
        number(heads().map(|head| head.batch_rows).collect()),
        number(heads().map(|head| head.batch_offset).collect()),
        Arc::new(PrimitiveArray::<UInt16Type>::from_iter_values(heads().map(|head| head.status))),
        some(heads().map(|head| head.code).collect()),
        some(heads().map(|head| head.error).collect()),
        Arc::new(traces.collect::<StringArray>()),
        Arc::new(BooleanArray::from(heads().map(|head| head.is_copy).collect::<Vec<_>>())),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(kept, _)| kept.weight))),
        text(heads().map(|head| head.kept.name()).collect()),
    ]
}
