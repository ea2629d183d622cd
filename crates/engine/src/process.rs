//! What the kernel says of process groups.

use std::fs;

/// Resident memory of all processes of a group, in MiB; `None` if there are none.
pub fn group_memory_mb(group: u32) -> Option<f64> {
    const PAGE_BYTES: f64 = 4_096.0;
    let mut pages = None;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|c| c.is_ascii_digit())) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name in parentheses may hold anything; the fields after it are state, parent, group, …
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        if fields.get(2).and_then(|field| field.parse::<u32>().ok()) == Some(group)
            && let Some(resident) = fields.get(21).and_then(|field| field.parse::<f64>().ok())
        {
            *pages.get_or_insert(0.0) += resident;
        }
    }
    pages.map(|pages| pages * PAGE_BYTES / (1 << 20) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_group_has_memory() {
        let group = nix::unistd::getpgrp().as_raw() as u32;
        assert!(group_memory_mb(group).is_some_and(|mb| mb > 0.5));
        assert_eq!(group_memory_mb(u32::MAX), None);
    }
}
