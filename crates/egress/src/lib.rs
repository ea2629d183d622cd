//! The way out of a sandbox. Models run in a network of their own, which leads nowhere; listeners
//! inside of it are handed to this process, which runs outside. It accepts what models connect to
//! them, and connects further to what the model's `[egress]` names, and to nothing else.
//!
//! It knows no files and starts nothing. It is told what to do on a control socket, and serves on
//! when nobody is at the other end of that.

mod activity;
mod address;
mod answer;
mod body;
mod book;
mod control;
mod destination;
mod dial;
mod entry;
mod fixed;
mod forward;
mod headers;
mod http;
mod limits;
mod listener;
mod log;
mod model;
mod packet;
mod policy;
mod request;
mod resolve;
mod response;
mod server;
mod table;
mod tunnel;
mod wire;

pub use address::{Kind, Network, kind};
pub use book::{Count, Verdict};
pub use control::{COUNTS_IN_PACKET, LISTENERS_MAX, Listed, PACKET_BYTES_MAX, Reply, Request};
pub use destination::{Destination, Host};
pub use entry::Entry;
pub use limits::Limits;
pub use listener::Service;
pub use policy::{ENTRIES_MAX, Policy, Reach};
pub use resolve::{Resolve, System};
pub use server::{Options, run, run_with};
pub use table::Resolvers;
