//! The proxy with real sockets: on loopback, and where it matters in networks of their own.

mod control;
mod harness;
mod http;
mod limits;
mod networks;
mod tunnels;
