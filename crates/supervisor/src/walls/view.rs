//! A file system of its own for a process: of the machine it shows programs, libraries and what the
//! process was given, all to be read; and one directory to write.
//!
//! Everything happens in namespaces of a user namespace, so that it needs no rights, and a process
//! that breaks out of it has none.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use domain::launch::Walls;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, getgid, getuid, pivot_root, sethostname};

use super::{system, tried};

/// Where the machine's file system is seen while the new one is made.
const HOST: &str = "/host";
/// Of the new root: it holds nothing but mount points.
const ROOT: &str = "mode=755,size=4m";
/// Of `/dev/shm`: half of the machine's memory, and it counts as the process's own.
const SHARED: &str = "mode=1777";

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const WRITABLE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const DEVICE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

const NONE: Option<&str> = None;

/// Moves this process into its own namespaces, and into a file system that shows what its walls let
/// it see.
pub fn enter(walls: &Walls) -> io::Result<()> {
    // Paths are followed while they still lead where they did.
    let lead = |path: &String| Some((PathBuf::from(path), fs::canonicalize(path).ok()?));
    let [read, write] = [&walls.read, &walls.write]
        .map(|paths| paths.iter().filter_map(lead).collect::<Vec<(PathBuf, PathBuf)>>());
    let own = fs::canonicalize(&walls.own).map_err(tried(&*walls.own))?;
    let (readable, devices) = (system::readable(), system::devices());
    own_namespaces()?;
    let place = own.join("tmp");
    mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(ROOT))
        .map_err(tried("mounting a root"))?;
    chdir(&place).map_err(tried("entering the root"))?;
    fs::create_dir("host")?;
    pivot_root(".", "host").map_err(tried("changing the root"))?;
    chdir("/").map_err(tried("entering the root"))?;
    fs::create_dir("tmp")?;
    show(&place, Path::new("/tmp"), WRITABLE)?;
    fs::create_dir("var")?;
    std::os::unix::fs::symlink("/tmp", "/var/tmp")?;
    fs::create_dir("run")?;
    for path in readable {
        match on_host(&path).read_link() {
            Ok(target) => link(&target, &path)?,
            Err(_) => show(&path, &path, READ_ONLY)?,
        }
    }
    show(Path::new("/proc"), Path::new("/proc"), READ_ONLY | libc::MOUNT_ATTR_NOEXEC)?;
    show_devices(&devices)?;
    show(&own, Path::new(&walls.own), WRITABLE)?;
    read.iter().try_for_each(|(path, source)| show(source, path, READ_ONLY))?;
    write.iter().try_for_each(|(path, source)| show(source, path, WRITABLE))?;
    umount2(HOST, MntFlags::MNT_DETACH).map_err(tried("leaving the machine's files"))?;
    fs::remove_dir(HOST)?;
    attributes(Path::new("/"), READ_ONLY, false)
}

fn own_namespaces() -> io::Result<()> {
    let (user, group) = (getuid(), getgid());
    if user.is_root() {
        hide_processes();
    }
    let flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(flags).map_err(tried("making namespaces"))?;
    fs::write("/proc/self/setgroups", "deny").map_err(tried("denying groups"))?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))
        .map_err(tried("mapping the user"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
        .map_err(tried("mapping the group"))?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .map_err(tried("keeping mounts apart"))?;
    sethostname("localhost").map_err(tried("naming the machine"))?;
    loopback_up().map_err(tried("starting the loopback interface"))
}

/// A view of `/proc` that shows a process only those that it may look into. It takes root to mount
/// one for processes of a namespace that is not the process's own; without it their names are seen.
fn hide_processes() {
    let _ = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE))
        .and_then(|()| {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("proc"), "/proc", Some("proc"), flags, Some("hidepid=ptraceable"))
        });
}

fn show_devices(devices: &[PathBuf]) -> io::Result<()> {
    devices.iter().try_for_each(|path| show(path, path, DEVICE))?;
    fs::create_dir_all("/dev/shm")?;
    mount(
        Some("tmpfs"),
        "/dev/shm",
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(SHARED),
    )
    .map_err(tried("mounting /dev/shm"))?;
    let links = [
        ("self/fd", "fd"),
        ("self/fd/0", "stdin"),
        ("self/fd/1", "stdout"),
        ("self/fd/2", "stderr"),
    ];
    links.iter().try_for_each(|(target, name)| {
        link(&Path::new("/proc").join(target), &Path::new("/dev").join(name))
    })
}

fn link(target: &Path, path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    std::os::unix::fs::symlink(target, path).map_err(tried(path.to_string_lossy()))
}

/// A path of the machine, while its file system is still to be seen.
fn on_host(path: &Path) -> PathBuf {
    Path::new(HOST).join(path.strip_prefix("/").unwrap_or(path))
}

/// Shows a file or directory of the machine at a path.
fn show(source: &Path, path: &Path, attributes_of: u64) -> io::Result<()> {
    let source = on_host(source);
    let of_source = fs::metadata(&source).map_err(tried(source.to_string_lossy()))?;
    let is_there =
        |found: fs::Metadata| (found.dev(), found.ino()) == (of_source.dev(), of_source.ino());
    if fs::metadata(path).is_ok_and(is_there) {
        return Ok(());
    }
    if of_source.is_dir() {
        fs::create_dir_all(path).map_err(tried(path.to_string_lossy()))?;
    } else {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::File::create(path).map_err(tried(path.to_string_lossy()))?;
    }
    mount(Some(&source), path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .map_err(tried(format!("showing {}", path.display())))?;
    attributes(path, attributes_of, true)
}

/// Sets attributes of a mount, and of those below it.
fn attributes(path: &Path, set: u64, below: bool) -> io::Result<()> {
    // SAFETY: all zeros are a valid value of it: nothing is changed.
    let mut wanted: libc::mount_attr = unsafe { std::mem::zeroed() };
    wanted.attr_set = set;
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let flags = if below { libc::AT_RECURSIVE } else { 0 };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path and the attributes live until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, name.as_ptr(), flags, &wanted, size)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(tried(format!("the rights of {}", path.display()))(io::Error::last_os_error()))
    }
}

fn loopback_up() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zeros are a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives until the call returns.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
