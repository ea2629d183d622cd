//! What this machine is short of: an error that says so is nobody's fault, and what failed with it
//! may work later.

use std::io;

use nix::libc;

/// Whether an operation failed for want of descriptors, memory, processes or disk.
pub fn is_local(error: &io::Error) -> bool {
    const SHORT_OF: [i32; 8] = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EAGAIN,
        libc::ENOSPC,
        libc::EDQUOT,
        libc::EROFS,
    ];
    error.raw_os_error().is_some_and(|code| SHORT_OF.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_memory_and_disk_are_local_and_a_missing_file_is_not() {
        for (code, expected) in [
            (libc::EMFILE, true),
            (libc::ENOMEM, true),
            (libc::ENOSPC, true),
            (libc::ENOENT, false),
        ] {
            assert_eq!(is_local(&io::Error::from_raw_os_error(code)), expected);
        }
        assert!(!is_local(&io::Error::other("words")));
    }
}
