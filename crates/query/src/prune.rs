//! Which files may have rows that a query asks for, by what the catalogue knows of each: they are
//! not opened to find out.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, Result, ScalarValue, Statistics};

use crate::known::KnownFile;

/// What the catalogue knows of some files.
pub struct OfFiles<'a>(pub &'a [Arc<KnownFile>]);

/// The time in an id, which is a UUIDv7 as text, in microseconds since 1970.
pub fn time_us(id: &str) -> Option<i64> {
    let digits = id.get(..8)?.to_owned() + id.get(9..13)?;
    i64::from_str_radix(&digits, 16).ok()?.checked_mul(1_000)
}

impl OfFiles<'_> {
    fn texts<'b>(&'b self, text: impl Fn(&'b KnownFile) -> String) -> Option<ArrayRef> {
        let texts = self.0.iter().map(|file| text(file));
        Some(Arc::new(StringArray::from_iter_values(texts)))
    }

    fn times<'b>(&'b self, id: impl Fn(&'b KnownFile) -> &'b str) -> Option<ArrayRef> {
        let times = self.0.iter().map(|file| time_us(id(file)));
        let times: TimestampMicrosecondArray = times.collect();
        Some(Arc::new(times.with_timezone("UTC")))
    }

    fn same(&self, column: &str) -> Option<ArrayRef> {
        match column {
            "project" => self.texts(|known| known.file.model.project.to_string()),
            "model" => self.texts(|known| known.file.model.model.to_string()),
            "environment" => self.texts(|known| known.file.environment.to_string()),
            "version" => self.texts(|known| known.file.version.to_string()),
            _ => None,
        }
    }
}

impl PruningStatistics for OfFiles<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name.as_str() {
            "id" => self.texts(|known| known.file.first_id.clone()),
            "time" => self.times(|known| &known.file.first_id),
            other => self.same(other),
        }
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name.as_str() {
            "id" => self.texts(|known| known.file.last_id.clone()),
            "time" => self.times(|known| &known.file.last_id),
            other => self.same(other),
        }
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.0.iter().map(|known| Some(known.file.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// The same of one file, for whoever decides while a query runs: the newest ten are found without
/// opening files of hours before.
pub fn statistics(known: &KnownFile, columns: &[String]) -> Result<Statistics> {
    let file = &known.file;
    let of = |name: &String| {
        let (least, greatest) = match name.as_str() {
            "id" => (
                ScalarValue::from(file.first_id.as_str()),
                ScalarValue::from(file.last_id.as_str()),
            ),
            "time" => {
                let time =
                    |id: &str| ScalarValue::TimestampMicrosecond(time_us(id), Some("UTC".into()));
                (time(&file.first_id), time(&file.last_id))
            }
            _ => return ColumnStatistics::new_unknown(),
        };
        ColumnStatistics::new_unknown()
            .with_min_value(Precision::Exact(least))
            .with_max_value(Precision::Exact(greatest))
            .with_null_count(Precision::Exact(0))
    };
    Ok(Statistics {
        num_rows: Precision::Exact(file.rows as usize),
        total_byte_size: Precision::Inexact(file.bytes as usize),
        column_statistics: columns.iter().map(of).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_time() {
        assert_eq!(time_us("0192f3a4-b2c1-7000-8000-000000000000"), Some(0x0192_f3a4_b2c1 * 1_000));
        for bad in ["", "0192f3a4", "x192f3a4-b2c1", "0192f3a4-b2cé"] {
            assert_eq!(time_us(bad), None, "{bad}");
        }
    }
}
