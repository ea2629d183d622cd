//! The store on a real disk. One binary: each more would compile and link all of it again.

mod damage;
mod store;
mod trees;
