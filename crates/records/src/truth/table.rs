//! Feedback as a Parquet file.

use std::fs::File;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use domain::outcome::Outcome;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::fields::{Cell, Fields, LIST_MAX, Naming, Role, Take, can_tell, cut};
use crate::outcomes::Outcomes;

/// Rows that are in memory at a time.
const ROWS_AT_A_TIME: usize = 8_192;
/// The most bytes that a column of a row group may have when it is decompressed.
const COLUMN_BYTES_MAX: i64 = 512 << 20;

/// Reads a file to its end.
pub fn read(file: File, naming: &Naming, take: &mut Take<'_>) {
    let builder = match ParquetRecordBatchReaderBuilder::try_new(file) {
        Ok(builder) => builder,
        Err(error) => return cut(1, format!("it is not a Parquet file: {error}"), take),
    };
    let schema = builder.schema().clone();
    let of_name = |name: &String| naming.role(name);
    let roles: Vec<Option<Role>> =
        schema.fields().iter().map(|field| of_name(field.name())).collect();
    if !can_tell(&roles) {
        let needs = naming.needs();
        return cut(1, format!("the columns do not say what is true of what: {needs}"), take);
    }
    let wanted: Vec<usize> = (0..roles.len()).filter(|at| roles[*at].is_some()).collect();
    let groups = builder.metadata().row_groups();
    let columns = groups.iter().flat_map(|group| group.columns());
    if columns.map(|column| column.uncompressed_size()).any(|bytes| bytes > COLUMN_BYTES_MAX) {
        return cut(1, "a column of a row group has more than 512 MiB", take);
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
    let roles: Vec<Role> = roles.into_iter().flatten().collect();
    let reader = match builder.with_projection(mask).with_batch_size(ROWS_AT_A_TIME).build() {
        Ok(reader) => reader,
        Err(error) => return cut(1, error, take),
    };
    let mut count = 0;
    for batch in reader {
        let cells = batch
            .map_err(|error| error.to_string())
            .and_then(|batch| cells(&batch, &roles).map_err(|error| error.to_string()));
        let (rows, cells) = match cells {
            Ok(cells) => cells,
            Err(error) => return cut(count + 1, error, take),
        };
        for row in 0..rows {
            let mut fields = Fields::default();
            for (role, column) in roles.iter().zip(&cells) {
                fields.set(*role, column.cell(row));
            }
            count += 1;
            if !take(count, fields.line(naming)) {
                return;
            }
        }
    }
}

/// A column of a batch.
enum Column {
    /// Times in milliseconds since 1970.
    Times(ArrayRef),
    Of(Outcomes),
}

fn cells(batch: &RecordBatch, roles: &[Role]) -> Result<(usize, Vec<Column>), ArrowError> {
    let columns = batch.columns().iter().zip(roles);
    let columns = columns.map(|(column, role)| Column::new(column, *role));
    Ok((batch.num_rows(), columns.collect::<Result<_, _>>()?))
}

impl Column {
    fn new(column: &ArrayRef, role: Role) -> Result<Column, ArrowError> {
        use DataType::*;
        if role == Role::At && matches!(column.data_type(), Timestamp(..) | Date32 | Date64) {
            let milliseconds = cast(column, &Timestamp(TimeUnit::Millisecond, None))?;
            return Ok(Column::Times(cast(&milliseconds, &Int64)?));
        }
        Outcomes::new(column).map(Column::Of)
    }

    fn cell(&self, row: usize) -> Cell {
        match self {
            Column::Times(array) if array.is_null(row) => Cell::Null,
            Column::Times(array) => {
                Cell::Of(Outcome::Integer(array.as_primitive::<Int64Type>().value(row)))
            }
            // Lists are the truth of several rows.
            Column::Of(Outcomes::Lists(array, elements)) if !array.is_null(row) => {
                let ends = array.as_list::<i32>().value_offsets();
                let rows = ends[row] as usize..ends[row + 1] as usize;
                let cells = rows.map(|at| Cell::new(elements.get(at).transpose()));
                Cell::List(cells.take(LIST_MAX).collect())
            }
            Column::Of(outcomes) => Cell::new(outcomes.get(row).transpose()),
        }
    }
}
