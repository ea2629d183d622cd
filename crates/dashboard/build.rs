//! The page is built by `make ui`: what was built since is taken along.

fn main() {
    println!("cargo::rerun-if-changed=../../ui/dist");
}
