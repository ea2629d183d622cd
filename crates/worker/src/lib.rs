//! Both ends of the worker protocol: the client that gateway, engine and control use, the server
//! side for runtimes written in Rust, and the bridge for programs that only speak TCP.

pub mod bridge;
pub mod caller;
pub mod client;
pub mod probe;
pub mod refusal;
pub mod server;

pub use caller::Caller;
pub use client::{Connection, ConnectionError, Form, RawAnswer};
pub use probe::{ProbeAs, WorkerInfo, probe};
pub use protocol::encoded::canonical as canonical_bytes;
pub use protocol::simple::synthetic_row;
pub use protocol::{Answer, Payload, Tensor};
