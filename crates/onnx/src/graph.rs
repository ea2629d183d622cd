//! A loaded graph: its sessions, and how a request runs through one of them.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use domain::{Code, Problem, Schema};
use ort::AsPointer;
use ort::environment::Environment;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights};
use ort::session::{Session, SessionInputValue};
use parking_lot::Mutex;
use protocol::oip::InferRequest;
use protocol::tensor::{Tensor, byte_elements};

use crate::signature::{Declared, Kind, Output, Rows, Signature};
use crate::{failure, input, output};

/// How a graph runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads within one run; 0 leaves it to ONNX Runtime.
    pub threads: usize,
    /// Runs at the same time. Each has a session of its own, as sessions are not safe to share;
    /// packed weights are shared.
    pub concurrency: u32,
}

/// A graph that is ready to run.
pub struct Graph {
    sessions: Vec<Mutex<Session>>,
    signature: Signature,
    // Sessions use both until they are gone.
    _weights: PrepackedWeights,
    _environment: Environment,
}

/// Loads ONNX Runtime. Once per process.
pub fn environment(library: &Path) -> Result<Environment, Problem> {
    // Else the loader would look in its own directories, and name none of them.
    if !library.exists() {
        return Err(failure::library(library, "no such file"));
    }
    let builder = ort::init_from(library).map_err(|error| failure::library(library, error))?;
    builder
        .with_name("decalog")
        .with_telemetry(false)
        .build()
        .map_err(|error| failure::library(library, error))
}

impl Graph {
    /// Loads a graph. `section` is the manifest's `[schema]` as JSON, if it says anything.
    pub fn load(
        environment: &Environment,
        file: &Path,
        settings: Settings,
        section: Option<&str>,
    ) -> Result<Graph, Problem> {
        if let Some(problem) = failure::file(file) {
            return Err(problem);
        }
        let weights = PrepackedWeights::new();
        let mut sessions = vec![];
        for _ in 0..settings.concurrency.max(1) {
            sessions.push(
                session(environment, file, settings, &weights)
                    .map_err(|error| failure::graph(file, error))?,
            );
        }
        let mut signature = sign(&sessions[0])?;
        if let Some(section) = section {
            signature.refine(section)?;
        }
        signature.notes.iter().for_each(|note| eprintln!("{}: {note}", file.display()));
        let sessions = sessions.into_iter().map(Mutex::new).collect();
        Ok(Graph { sessions, signature, _weights: weights, _environment: environment.clone() })
    }

    /// What the user sees.
    pub fn schema(&self) -> &Schema {
        &self.signature.schema
    }

    /// Runs a request in the session of this slot.
    pub fn infer(&self, slot: usize, request: &InferRequest) -> Result<Vec<Tensor>, Problem> {
        let inputs = self.inputs(request)?;
        let mut session = self.sessions[slot % self.sessions.len()].lock();
        let wanted = self.wanted(request)?;
        if self.signature.rows != Rows::OneByOne {
            return self.run(&mut session, &inputs, None, &wanted);
        }
        let rows =
            inputs.first().and_then(|input| input.tensor.shape.first().copied()).unwrap_or(0);
        let mut answers = Vec::with_capacity(rows);
        for row in 0..rows {
            answers.push(self.run(&mut session, &inputs, Some(row), &wanted)?);
        }
        stack(answers)
    }

    /// The request's tensors in the graph's order.
    fn inputs<'a>(&self, request: &'a InferRequest) -> Result<Vec<Feed<'a>>, Problem> {
        let signature = &self.signature;
        let known = |name: &str| signature.inputs.iter().any(|input| input.name == name);
        if let Some(unknown) = request.inputs.iter().find(|tensor| !known(&tensor.name)) {
            let names: Vec<&str> =
                signature.inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(Problem::new(
                Code::BadRequest,
                format!("the graph has no input `{}`", unknown.name),
            )
            .help(format!("it has {}", names.join(", "))));
        }
        let mut feeds: Vec<Feed> = Vec::with_capacity(signature.inputs.len());
        for declared in &signature.inputs {
            let tensor =
                request.inputs.iter().find(|tensor| tensor.name == declared.name).ok_or_else(
                    || {
                        Problem::new(
                            Code::BadRequest,
                            format!(
                                "the input `{}` is missing: expected {}",
                                declared.name, declared.datatype
                            ),
                        )
                    },
                )?;
            if tensor.datatype.wire_name() != declared.datatype.wire_name() {
                let text = format!(
                    "`{}` must be {}, got {}",
                    declared.name, declared.datatype, tensor.datatype
                );
                return Err(Problem::new(Code::BadRequest, text));
            }
            let dimensions = input::dimensions_for(declared, &tensor.shape, signature.rows)?;
            feeds.push(Feed { tensor, dimensions });
        }
        let rows = |feed: &Feed| feed.tensor.shape.first().copied();
        if signature.rows != Rows::Whole
            && let [first, others @ ..] = feeds.as_slice()
            && let Some(other) = others.iter().find(|other| rows(other) != rows(first))
        {
            let (a, b) = (&first.tensor, &other.tensor);
            let text = format!(
                "`{}` has the shape {:?}, but `{}` has {:?}: rows differ",
                a.name, a.shape, b.name, b.shape
            );
            return Err(Problem::new(Code::BadRequest, text));
        }
        Ok(feeds)
    }

    /// The outputs that the request wants: others are not even read.
    fn wanted(&self, request: &InferRequest) -> Result<Vec<&Output>, Problem> {
        let outputs = &self.signature.outputs;
        if let Some(unknown) = request
            .outputs
            .iter()
            .find(|wanted| !outputs.iter().any(|output| output.name == wanted.name))
        {
            let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            return Err(Problem::new(
                Code::BadRequest,
                format!("the model has no output `{}`", unknown.name),
            )
            .help(format!("it has {}", names.join(", "))));
        }
        let is_wanted = |output: &&Output| {
            request.outputs.is_empty()
                || request.outputs.iter().any(|wanted| wanted.name == output.name)
        };
        Ok(outputs.iter().filter(is_wanted).collect())
    }

    fn run(
        &self,
        session: &mut Session,
        feeds: &[Feed],
        row: Option<usize>,
        wanted: &[&Output],
    ) -> Result<Vec<Tensor>, Problem> {
        let mut values: Vec<SessionInputValue> = Vec::with_capacity(feeds.len());
        let mut borrowed: Vec<Range<usize>> = Vec::with_capacity(feeds.len());
        for (declared, feed) in self.signature.inputs.iter().zip(feeds) {
            let data = match row {
                Some(row) => feed.row(row),
                None => &feed.tensor.data[..],
            };
            borrowed.push(data.as_ptr() as usize..data.as_ptr() as usize + data.len());
            values.push(input::value(declared, &feed.dimensions, data)?);
        }
        let outputs = session.run(values.as_slice()).map_err(|error| {
            Problem::new(Code::ModelRaised, "ONNX Runtime could not run the graph")
                .details(error.to_string().lines().map(String::from))
        })?;
        let mut tensors = Vec::with_capacity(wanted.len());
        let mut values: Vec<_> = outputs.into_iter().map(|(_, value)| Some(value)).collect();
        for output in wanted {
            let value = values.get_mut(output.at).and_then(Option::take);
            let value = value.ok_or_else(|| {
                Problem::new(Code::BadOutput, format!("the graph gave no `{}`", output.name))
            })?;
            let mut tensor = output::tensor(output, value, &borrowed)?;
            if let Kind::Tensor { scalar: true, .. } = output.kind
                && let [_, 1] = tensor.shape[..]
            {
                tensor.shape.pop();
            }
            tensors.push(tensor);
        }
        Ok(tensors)
    }
}

/// A tensor of the request, and the dimensions in which the graph gets it.
struct Feed<'a> {
    tensor: &'a Tensor,
    dimensions: Vec<i64>,
}

impl Feed<'_> {
    /// The bytes of one row.
    fn row(&self, row: usize) -> &[u8] {
        let data = &self.tensor.data[..];
        let per_row: usize = self.tensor.shape.iter().skip(1).product();
        let span = match self.tensor.datatype.size() {
            Some(size) => row * per_row * size..(row + 1) * per_row * size,
            None => {
                let bytes = |elements: usize| {
                    byte_elements(data)
                        .take(elements)
                        .map(|element| 4 + element.len())
                        .sum::<usize>()
                };
                bytes(row * per_row)..bytes((row + 1) * per_row)
            }
        };
        data.get(span).unwrap_or_default()
    }
}

/// Puts the answers of single rows together.
fn stack(answers: Vec<Vec<Tensor>>) -> Result<Vec<Tensor>, Problem> {
    let rows = answers.len();
    let mut answers = answers.into_iter();
    let Some(mut stacked) = answers.next() else {
        return Err(Problem::new(Code::BadRequest, "the request has no rows"));
    };
    if rows == 1 {
        return Ok(stacked);
    }
    let mut data: Vec<Vec<u8>> = stacked.iter().map(|tensor| tensor.data.to_vec()).collect();
    for answer in answers {
        for ((whole, data), part) in stacked.iter().zip(&mut data).zip(answer) {
            if whole.shape != part.shape {
                let text = format!(
                    "`{}` has the shape {:?} for one row and {:?} for another",
                    whole.name, whole.shape, part.shape
                );
                return Err(Problem::new(Code::BadOutput, text)
                    .help("send these rows as separate requests"));
            }
            data.extend_from_slice(&part.data);
        }
    }
    for (tensor, data) in stacked.iter_mut().zip(data) {
        if let Some(first) = tensor.shape.first_mut() {
            *first *= rows;
        }
        tensor.data = Bytes::from(data);
    }
    Ok(stacked)
}

fn session(
    environment: &Environment,
    file: &Path,
    settings: Settings,
    weights: &PrepackedWeights,
) -> ort::Result<Session> {
    let mut builder = Session::builder(environment)?
        .with_intra_threads(settings.threads)?
        .with_inter_threads(1)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_memory_pattern(true)?
        // A thread that spins while it waits takes a core from the gateway and from other models.
        .with_config_entry("session.intra_op.allow_spinning", "0")?
        .with_prepacked_weights(weights)?;
    builder.commit_from_file(file)
}

fn sign(session: &Session) -> Result<Signature, Problem> {
    let inputs: Vec<Declared> = session
        .inputs()
        .iter()
        .enumerate()
        .map(|(at, input)| Declared {
            name: input.name(),
            value: input.dtype(),
            has_shape: has_shape(session, at, true),
        })
        .collect();
    let outputs: Vec<Declared> = session
        .outputs()
        .iter()
        .enumerate()
        .map(|(at, output)| Declared {
            name: output.name(),
            value: output.dtype(),
            has_shape: has_shape(session, at, false),
        })
        .collect();
    Signature::new(&inputs, &outputs)
}

/// Whether the graph says how many dimensions a tensor has: without, it looks like a scalar
/// otherwise.
fn has_shape(session: &Session, at: usize, is_input: bool) -> bool {
    let outlets = if is_input { session.inputs() } else { session.outputs() };
    // A tensor with dimensions has a shape; what is no tensor has none to ask for.
    match outlets.get(at).and_then(|outlet| outlet.dtype().tensor_shape()) {
        Some(shape) if shape.is_empty() => {}
        _ => return true,
    }
    let api = ort::api();
    let mut about = std::ptr::null_mut();
    let mut tensor = std::ptr::null();
    // SAFETY: the session is alive, `at` is one of its inputs or outputs, which is a tensor, and
    // what the first call gives is released below, after its last use. Statuses of calls that
    // cannot fail are null.
    unsafe {
        let describe =
            if is_input { api.SessionGetInputTypeInfo } else { api.SessionGetOutputTypeInfo };
        if ort::Error::result_from_status(describe(session.ptr(), at, &mut about)).is_err()
            || about.is_null()
        {
            return true;
        }
        let cast =
            ort::Error::result_from_status((api.CastTypeInfoToTensorInfo)(about, &mut tensor));
        let found = cast.is_err() || tensor.is_null() || (api.TensorTypeAndShape_HasShape)(tensor);
        (api.ReleaseTypeInfo)(about);
        found
    }
}
