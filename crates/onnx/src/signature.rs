//! What a graph's inputs and outputs mean: the schema, and how rows are laid out for a run. Pure;
//! knows no session.

use domain::Code;
use domain::{Column, Datatype, Problem, Schema};
use ort::value::{TensorElementType, ValueType};
use serde_json::Value;

/// How the rows of a request go through the graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rows {
    /// Together: the first dimension is free.
    Together,
    /// One after the other: the first dimension is 1.
    OneByOne,
    /// The request is one row, in the shapes that the graph declares.
    Whole,
}

/// An input of the graph.
#[derive(Clone, PartialEq, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Of its elements.
    pub datatype: Datatype,
    /// All dimensions, -1 where free; `None` if even their number is.
    pub dimensions: Option<Vec<i64>>,
}

/// An output of the graph that is served.
#[derive(Clone, PartialEq, Debug)]
pub struct Output {
    /// Its place among the graph's outputs.
    pub at: usize,
    /// Its name.
    pub name: String,
    /// How it is read.
    pub kind: Kind,
}

/// What an output is.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// A tensor with these dimensions; `scalar` if a row of the shape `[1]` is given as a scalar.
    Tensor { datatype: Datatype, dimensions: Option<Vec<i64>>, scalar: bool },
    /// A sequence of maps, one for each row.
    Maps,
}

/// The whole graph.
#[derive(Clone, PartialEq, Debug)]
pub struct Signature {
    /// In the graph's order.
    pub inputs: Vec<Input>,
    /// In the graph's order.
    pub outputs: Vec<Output>,
    /// How rows go through.
    pub rows: Rows,
    /// What the user sees.
    pub schema: Schema,
    /// For the log.
    pub notes: Vec<String>,
}

/// A named value of a graph, as ONNX Runtime describes it.
pub struct Declared<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub value: &'a ValueType,
    /// `false` if the graph does not say how many dimensions it has.
    pub has_shape: bool,
}

/// The datatype of an element type that we can carry.
pub fn datatype_of(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

impl Signature {
    /// Reads what a graph declares.
    pub fn new(inputs: &[Declared], outputs: &[Declared]) -> Result<Signature, Problem> {
        let named_dimension = first_dimension_names_differ(inputs);
        let inputs = inputs.iter().map(input_of).collect::<Result<Vec<_>, _>>()?;
        if inputs.is_empty() {
            return Err(Problem::new(Code::LoadFailed, "the graph has no inputs")
                .help("export it with its inputs as graph inputs"));
        }
        let mut notes = vec![];
        let mut served = vec![];
        for (at, output) in outputs.iter().enumerate() {
            match kind_of(output) {
                Some(kind) => served.push(Output { at, name: output.name.into(), kind }),
                None => notes.push(format!(
                    "the output `{}` is left out: {} is not supported",
                    output.name, output.value
                )),
            }
        }
        if served.is_empty() {
            return Err(Problem::new(
                Code::LoadFailed,
                "the graph has no output that can be served",
            )
            .details(notes)
            .help("export it with tensors as outputs"));
        }
        let rows = if named_dimension { Rows::Whole } else { rows_of(&inputs, &served) };
        if rows == Rows::Whole {
            served.iter_mut().for_each(|output| {
                if let Kind::Tensor { scalar, .. } = &mut output.kind {
                    *scalar = false;
                }
            });
        }
        let schema = schema_of(&inputs, &served, rows);
        Ok(Signature { inputs, outputs: served, rows, schema, notes })
    }

    /// Replaces columns by those of the same name in the manifest's `[schema]`.
    pub fn refine(&mut self, section: &str) -> Result<(), Problem> {
        let bad = |message: String| {
            Problem::new(Code::LoadFailed, message)
                .help("correct [schema] in decalog.toml; without it the graph's own schema is used")
        };
        let section: Value = serde_json::from_str(section)
            .map_err(|error| bad(format!("[schema] cannot be read: {error}")))?;
        for (key, columns) in
            [("inputs", &mut self.schema.inputs), ("outputs", &mut self.schema.outputs)]
        {
            let Some(list) = section.get(key).filter(|list| !list.is_null()) else { continue };
            let replacements: Vec<Column> = serde_json::from_value(list.clone())
                .map_err(|error| bad(format!("[schema] {key} cannot be read: {error}")))?;
            for replacement in replacements {
                let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
                let column = columns
                    .iter_mut()
                    .find(|column| column.name == replacement.name)
                    .ok_or_else(|| {
                        bad(format!(
                            "[schema] {key} has `{}`, but the graph has {}",
                            replacement.name,
                            names.join(", ")
                        ))
                    })?;
                if column.datatype.wire_name() != replacement.datatype.wire_name() {
                    let (name, wanted, found) =
                        (&column.name, replacement.datatype, column.datatype);
                    return Err(bad(format!(
                        "[schema] says that `{name}` is {wanted}, but in the graph it is {found}"
                    )));
                }
                if replacement.nullable {
                    return Err(bad(format!(
                        "[schema] says that `{}` is nullable, but ONNX has no null",
                        column.name
                    )));
                }
                *column = replacement;
            }
        }
        Ok(())
    }
}

fn dimensions_of(declared: &Declared) -> Option<Vec<i64>> {
    let shape = declared.value.tensor_shape()?;
    declared.has_shape.then(|| shape.iter().map(|dimension| (*dimension).max(-1)).collect())
}

fn input_of(declared: &Declared) -> Result<Input, Problem> {
    let datatype = declared.value.tensor_type().and_then(datatype_of).ok_or_else(|| {
        let text =
            format!("the input `{}` is {}, which cannot be served", declared.name, declared.value);
        Problem::new(Code::LoadFailed, text)
            .help("export the graph with inputs that are tensors of numbers, booleans or strings")
    })?;
    Ok(Input { name: declared.name.into(), datatype, dimensions: dimensions_of(declared) })
}

fn kind_of(declared: &Declared) -> Option<Kind> {
    if let ValueType::Sequence(inner) = declared.value {
        use TensorElementType::{Float32, Float64, Int64, String};
        let fits = matches!(
            **inner,
            ValueType::Map { key: Int64 | String, value: Float32 | Float64 | Int64 }
        );
        return fits.then_some(Kind::Maps);
    }
    let datatype = declared.value.tensor_type().and_then(datatype_of)?;
    let dimensions = dimensions_of(declared);
    let scalar = matches!(dimensions.as_deref(), Some([_, 1]));
    Some(Kind::Tensor { datatype, dimensions, scalar })
}

/// Whether inputs name their first dimensions, and not all the same. Names that exporters make up
/// say nothing.
fn first_dimension_names_differ(inputs: &[Declared]) -> bool {
    let mut names = inputs.iter().filter_map(|input| match input.value {
        ValueType::Tensor { shape, dimension_symbols, .. } if shape.first() == Some(&-1) => {
            dimension_symbols.first()
        }
        _ => None,
    });
    let mut first: Option<&String> = None;
    names.any(|name| {
        let made_up = name.is_empty() || name.starts_with("unk__");
        !made_up && *first.get_or_insert(name) != name
    })
}

fn rows_of(inputs: &[Input], outputs: &[Output]) -> Rows {
    // An input that leaves even the number of its dimensions open takes rows.
    let first = |dimensions: &Option<Vec<i64>>| match dimensions {
        None => Some(-1),
        Some(dimensions) => dimensions.first().copied(),
    };
    let all_inputs =
        |wanted: i64| inputs.iter().all(|input| first(&input.dimensions) == Some(wanted));
    // A first dimension that is fixed is not the rows, whatever the inputs say. Only 1 is often
    // what an exporter has noted.
    let fixes_another = outputs.iter().any(|output| match &output.kind {
        Kind::Tensor { dimensions, .. } => matches!(dimensions.as_deref(), Some([0 | 2.., ..])),
        Kind::Maps => false,
    });
    if all_inputs(-1) {
        return if fixes_another { Rows::Whole } else { Rows::Together };
    }
    let stackable = outputs.iter().all(|output| match &output.kind {
        Kind::Tensor { dimensions, .. } => {
            dimensions.as_ref().is_some_and(|dimensions| dimensions.first() == Some(&1))
        }
        Kind::Maps => true,
    });
    if all_inputs(1) && stackable { Rows::OneByOne } else { Rows::Whole }
}

fn schema_of(inputs: &[Input], outputs: &[Output], rows: Rows) -> Schema {
    let column = |name: &str, datatype: Datatype, dimensions: &Option<Vec<i64>>| {
        let shape = dimensions.as_ref().map(|dimensions| match (rows, dimensions.as_slice()) {
            (Rows::Whole, all) => all.to_vec(),
            (_, [_, 1]) => vec![],
            (_, [_, row @ ..]) => row.to_vec(),
            (_, []) => vec![],
        });
        Column { shape, ..Column::scalar(name, datatype) }
    };
    let inputs =
        inputs.iter().map(|input| column(&input.name, input.datatype, &input.dimensions)).collect();
    let outputs = outputs.iter().map(|output| match &output.kind {
        // A run whose rows come together gives rows, whatever an exporter has noted.
        Kind::Tensor { datatype, dimensions, .. }
            if rows != Rows::Whole && dimensions.as_deref() == Some(&[]) =>
        {
            column(&output.name, *datatype, &None)
        }
        Kind::Tensor { datatype, dimensions, .. } => column(&output.name, *datatype, dimensions),
        Kind::Maps if rows == Rows::Whole => {
            Column { shape: Some(vec![-1]), ..Column::scalar(&output.name, Datatype::Json) }
        }
        Kind::Maps => Column::scalar(&output.name, Datatype::Json),
    });
    Schema { inputs, outputs: outputs.collect(), batches: rows != Rows::Whole, ..Schema::default() }
}

#[cfg(test)]
mod tests;
