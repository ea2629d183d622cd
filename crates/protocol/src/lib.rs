//! Payloads and their wire forms: simple JSON and the Open Inference Protocol v2 (JSON and binary).
//! Bytes in, bytes out: nothing here reads a socket or knows a route.

pub mod answer;
mod at_most;
mod cells;
mod columns;
pub mod element;
pub mod encoded;
pub mod exact;
pub mod fault;
pub mod limits;
pub mod multipart;
pub mod oip;
pub mod payload;
pub mod record;
pub mod simple;
pub mod tensor;
pub mod trace;
pub mod typed;
pub mod view;
pub mod worker_wire;

pub use answer::Answer;
pub use fault::WorkerFault;
pub use payload::Payload;
pub use tensor::Tensor;
pub use view::{ColumnView, Value};
