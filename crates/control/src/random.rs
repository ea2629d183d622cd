//! Random bytes for what must not be guessed, from the kernel.

use std::fs::File;
use std::io::Read;

use domain::{Code, Problem};

/// So many random bytes.
pub fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map(|()| bytes)
        .map_err(|error| Problem::new(Code::Failed, format!("no random bytes: {error}")))
}
