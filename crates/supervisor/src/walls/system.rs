//! What every model may read of the machine: programs and libraries, and settings that they look
//! for. Nothing here tells who uses the machine, or what for.

use std::path::{Path, PathBuf};

/// Programs and libraries.
const PROGRAMS: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/gnu/store",
];
/// Of `/etc`.
const SETTINGS: &str = "alternatives ca-certificates fonts gai.conf group host.conf hosts java ld.so.cache ld.so.conf \
                        ld.so.conf.d ldap locale.alias localtime login.defs magic mime.types mke2fs.conf nsswitch.conf \
                        odbcinst.ini OpenCL passwd pki protocols R rpc services ssl timezone xattr.conf";
/// Of `/etc`, all that begin so.
const SETTINGS_BEGIN: [&str; 3] = ["java-", "python", "crypto-policies"];
/// What the kernel says of processors, memory and limits.
const KERNEL: [&str; 3] = ["/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm"];
/// What is read and written.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Graphics cards, where there are any.
const GRAPHICS: &str = "nvidia";
const GRAPHICS_KERNEL: [&str; 3] =
    ["/sys/module/nvidia", "/sys/bus/pci", "/sys/devices/pci0000:00"];

/// What there is of a list.
fn existing<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<PathBuf> {
    paths.into_iter().map(PathBuf::from).filter(|path| path.symlink_metadata().is_ok()).collect()
}

fn names(directory: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return vec![] };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Programs, libraries, settings and what the kernel says: to be read.
pub fn readable() -> Vec<PathBuf> {
    let mut settings: Vec<String> =
        SETTINGS.split_ascii_whitespace().map(|name| format!("/etc/{name}")).collect();
    let begin = |name: &String| SETTINGS_BEGIN.iter().any(|begin| name.starts_with(begin));
    settings
        .extend(names("/etc").iter().filter(|name| begin(name)).map(|name| format!("/etc/{name}")));
    let mut found = existing(PROGRAMS);
    found.extend(existing(settings.iter().map(String::as_str)));
    found.extend(existing(KERNEL));
    if !graphics().is_empty() {
        found.extend(existing(GRAPHICS_KERNEL));
    }
    found
}

/// Whether everybody may read a path anyway.
pub fn has(path: &Path) -> bool {
    PROGRAMS.iter().any(|programs| path.starts_with(programs))
}

/// Devices: to be read and written.
pub fn devices() -> Vec<PathBuf> {
    let mut found = existing(DEVICES);
    found.extend(graphics());
    found
}

fn graphics() -> Vec<PathBuf> {
    let names = names("/dev");
    let cards = names.iter().filter(|name| name.starts_with(GRAPHICS));
    cards.map(|name| PathBuf::from(format!("/dev/{name}"))).collect()
}
