//! The gateway through real sockets. One binary: each more would compile and link all of it again.

mod limits;
mod records;
mod releases;
mod requests;
mod row_by_row;
mod support;
