//! The files of the catalogue, kept in memory between queries: of each only what planning needs,
//! and the columns of all files that have the same once.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use domain::Problem;
use parking_lot::Mutex;
use records::{Catalogue, RecordFile};

use crate::problem::unread;

/// With more new files than these, all are read at once.
const SINGLE_MAX: usize = 100;

/// The names and types of columns, read.
type Schemas = HashMap<Vec<(String, String)>, SchemaRef>;

/// A file of records.
#[derive(Debug)]
pub struct KnownFile {
    /// As the catalogue has it, without its columns.
    pub file: RecordFile,
    /// These.
    pub schema: SchemaRef,
}

/// All files, oldest hour first.
pub type Files = Arc<Vec<Arc<KnownFile>>>;

/// The files that were there when it was last looked.
#[derive(Default)]
pub struct Known {
    files: Mutex<HashMap<String, Arc<KnownFile>>>,
}

impl Known {
    /// The files that are there now. Reads a file on the disk.
    pub fn look(&self, catalogue: &Catalogue) -> Result<Files, Problem> {
        let paths = catalogue.paths().map_err(unread)?;
        let mut known = self.files.lock();
        let mut schemas: Schemas = HashMap::new();
        let mut add = |known: &mut HashMap<String, Arc<KnownFile>>, file: RecordFile| {
            let file = KnownFile::of(file, &mut schemas, known);
            known.insert(file.file.path.clone(), Arc::new(file));
        };
        let missing: Vec<&String> =
            paths.iter().filter(|path| !known.contains_key(*path)).collect();
        match missing.len() {
            ..=SINGLE_MAX => {
                for path in missing {
                    let file = catalogue.file(path).map_err(unread)?;
                    file.into_iter().for_each(|file| add(&mut known, file));
                }
            }
            _ => {
                let all = catalogue.files(0, u64::MAX).map_err(unread)?;
                all.into_iter().for_each(|file| add(&mut known, file));
            }
        }
        let files: Vec<Arc<KnownFile>> =
            paths.iter().filter_map(|path| known.get(path).cloned()).collect();
        if known.len() > files.len() {
            *known = files.iter().map(|file| (file.file.path.clone(), file.clone())).collect();
        }
        Ok(Arc::new(files))
    }
}

impl KnownFile {
    fn of(
        mut file: RecordFile,
        schemas: &mut Schemas,
        known: &HashMap<String, Arc<KnownFile>>,
    ) -> KnownFile {
        let columns: Vec<(String, String)> = std::mem::take(&mut file.columns)
            .into_iter()
            .map(|column| (column.name, column.datatype))
            .collect();
        let schema = match schemas.get(&columns) {
            Some(schema) => schema.clone(),
            None => {
                let schema = Arc::new(schema_of(&columns));
                let same = known.values().find(|other| other.schema == schema);
                let schema = same.map_or(schema, |other| other.schema.clone());
                schemas.insert(columns, schema.clone());
                schema
            }
        };
        KnownFile { file, schema }
    }
}

/// A column whose type is of a newer Decalog is left out.
fn schema_of(columns: &[(String, String)]) -> Schema {
    let fields = columns.iter().filter_map(|column| {
        let (name, datatype) = column;
        Some(Field::new(name, datatype.parse::<DataType>().ok()?, true))
    });
    Schema::new(fields.collect::<Vec<Field>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_as_it_is_written() {
        let fixed = records::columns::fixed();
        let lists = [DataType::Float32, DataType::Utf8, DataType::Binary]
            .map(|item| Arc::new(Field::new("x", DataType::new_list(item, false), true)));
        for field in fixed.iter().chain(&lists) {
            let text = field.data_type().to_string();
            assert_eq!(text.parse::<DataType>().unwrap(), *field.data_type(), "{text}");
        }
    }
}
