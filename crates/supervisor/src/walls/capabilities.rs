//! Capabilities: none, or for a zygote those to make namespaces and start the network in them, within
//! its own.

use std::io;

use nix::libc;

use super::tried;

const VERSION_3: u32 = 0x2008_0522;
/// To mount and make namespaces, and to start a loopback interface.
const OF_ZYGOTE: [u32; 2] = [21, 12];

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up all capabilities, also those that programs of root would get; a zygote keeps what it
/// needs, and so does the program that this process becomes.
pub fn give_up(is_zygote: bool) -> io::Result<()> {
    let needed: &[u32] = if is_zygote { &OF_ZYGOTE } else { &[] };
    let kept = needed.iter().fold(0_u64, |kept, number| kept | 1 << number);
    // SAFETY: only numbers; of those that it does not know the kernel gives none.
    let is_known =
        |number: libc::c_ulong| unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) >= 0 };
    for number in (0..64).take_while(|number| is_known(*number)) {
        if kept & (1 << number) == 0 {
            // SAFETY: only numbers. Without the right to it there is nothing to give up either.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        }
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let low = Data { effective: kept as u32, permitted: kept as u32, inheritable: kept as u32 };
    let data = [low, Data::default()];
    // SAFETY: both live until the call returns, and have the layout of this version.
    let result = unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) };
    if result != 0 {
        return Err(tried("giving capabilities up")(io::Error::last_os_error()));
    }
    let (ambient, raise) = (libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE);
    for number in needed {
        // SAFETY: only numbers.
        let raised = unsafe { libc::prctl(ambient, raise, libc::c_ulong::from(*number), 0, 0) };
        if raised != 0 {
            return Err(tried("keeping the right to mount")(io::Error::last_os_error()));
        }
    }
    Ok(())
}
