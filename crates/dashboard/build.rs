//! The page is built by `make ui`: what was built since is taken along.

use std::path::Path;

fn main() {
    let built = Path::new("../../ui/dist");
    // Where nothing was built, an empty folder is watched: for one that is missing, this would run
    // each time, and all that depends on it be compiled again.
    let _ = std::fs::create_dir_all(built);
    println!("cargo::rerun-if-changed={}", built.display());
}
