//! The columns that every record has, as they are read row by row.

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::{
    Float64Type, TimestampMicrosecondType, UInt16Type, UInt32Type,
};
use datafusion::arrow::array::{
    Array, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt16Array, UInt32Array,
};
use datafusion::arrow::datatypes::{DataType, TimeUnit};

use super::named;

/// Of a batch.
pub struct Fixed<'b> {
    pub ids: &'b StringArray,
    pub rows: &'b UInt32Array,
    pub counts: &'b UInt32Array,
    pub times: &'b TimestampMicrosecondArray,
    pub versions: &'b StringArray,
    pub revisions: &'b UInt32Array,
    pub replicas: &'b StringArray,
    pub principals: &'b StringArray,
    pub total_us: &'b UInt32Array,
    pub queue_us: &'b UInt32Array,
    pub worker_us: &'b UInt32Array,
    pub statuses: &'b UInt16Array,
    pub codes: &'b StringArray,
    pub copies: &'b BooleanArray,
    pub weights: &'b Float64Array,
}

impl<'b> Fixed<'b> {
    pub fn of(batch: &'b RecordBatch) -> Result<Fixed<'b>, String> {
        let text = |name| named(batch, name, &DataType::Utf8).map(|it| it.as_string::<i32>());
        let number =
            |name| named(batch, name, &DataType::UInt32).map(|it| it.as_primitive::<UInt32Type>());
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Ok(Fixed {
            ids: text("id")?,
            rows: number("row")?,
            counts: number("rows")?,
            times: named(batch, "time", &time)?.as_primitive::<TimestampMicrosecondType>(),
            versions: text("version")?,
            revisions: number("revision")?,
            replicas: text("replica")?,
            principals: text("principal")?,
            total_us: number("total_us")?,
            queue_us: number("queue_us")?,
            worker_us: number("worker_us")?,
            statuses: named(batch, "status", &DataType::UInt16)?.as_primitive::<UInt16Type>(),
            codes: text("code")?,
            copies: named(batch, "copy", &DataType::Boolean)?.as_boolean(),
            weights: named(batch, "weight", &DataType::Float64)?.as_primitive::<Float64Type>(),
        })
    }

    /// The code of an error; empty if there was none.
    pub fn code(&self, row: usize) -> &'b str {
        if self.codes.is_valid(row) { self.codes.value(row) } else { "" }
    }
}
