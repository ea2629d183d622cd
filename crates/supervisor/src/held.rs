//! Memory that is held for others: what `up` writes there is still there after it was killed.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::protocol::{HELD_BYTES_MAX, HELD_MAX};

/// Memory by its name.
#[derive(Default)]
pub struct Held(HashMap<String, File>);

impl Held {
    /// Where the memory of a name can be opened: that which is there, if it has this size, or else
    /// new.
    pub fn hold(&mut self, name: String, bytes: u64) -> Result<String, String> {
        if bytes > HELD_BYTES_MAX {
            return Err(format!("{bytes} bytes are more than are held"));
        }
        let known = self.0.get(&name);
        let fits = |file: &File| file.metadata().is_ok_and(|about| about.len() == bytes);
        if known.is_none_or(|file| !fits(file)) {
            if known.is_none() && self.0.len() >= HELD_MAX {
                return Err("there are too many names".into());
            }
            let failed = |error: &dyn std::fmt::Display| format!("no memory is held: {error}");
            let memory = memfd_create(name.as_str(), MFdFlags::MFD_CLOEXEC);
            let file = File::from(memory.map_err(|error| failed(&error))?);
            file.set_len(bytes).map_err(|error| failed(&error))?;
            self.0.insert(name.clone(), file);
        }
        let file = self.0.get(&name).ok_or("it is gone")?;
        Ok(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_was_written_is_there_for_the_next() {
        let mut held = Held::default();
        let place = held.hold("ring".into(), 8).unwrap();
        File::options().write(true).open(&place).unwrap().write_all(b"12345678").unwrap();
        let again = held.hold("ring".into(), 8).unwrap();
        let mut text = String::new();
        File::open(again).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "12345678");
        let mut other = vec![];
        let larger = held.hold("ring".into(), 16).unwrap();
        File::open(larger).unwrap().read_to_end(&mut other).unwrap();
        assert_eq!(other, [0; 16], "memory of another size is new");
        assert!(held.hold("much".into(), u64::MAX).is_err());
    }
}
