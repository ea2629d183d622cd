//! What a model must not be able to do, tried: each attack first where nothing keeps it from it, then
//! inside the walls.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::path::Path;

use nix::libc;
use serde::{Deserialize, Serialize};

/// What attacks are made on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Targets {
    /// The directory of the platform's data.
    pub data: String,
    /// A directory that holds a file of the model's own version.
    pub tree: String,
    /// The directory of the model's packages, if it has any.
    pub environment: Option<String>,
    /// The supervisor's socket.
    pub supervisor: String,
    /// Somebody else's process, which waits.
    pub process: u32,
    /// Where somebody listens on the loopback interface, by TCP and by UDP.
    pub tcp: Option<SocketAddr>,
    /// The same by UDP.
    pub udp: Option<SocketAddr>,
    /// The name of an abstract Unix socket at which somebody listens.
    pub name: String,
}

/// An attack.
pub struct Attack {
    /// Its name.
    pub name: &'static str,
    /// What it tries, as in `it could …`.
    pub what: &'static str,
    run: fn(&Targets) -> io::Result<()>,
}

/// All of them.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "keys",
        what: "read the keys of secrets",
        run: |on| list(Path::new(&on.data).join("keys")),
    },
    Attack {
        name: "ledger",
        what: "read the ledger",
        run: |on| read(Path::new(&on.data).join("ledger.sqlite")),
    },
    Attack {
        name: "records",
        what: "read what callers sent",
        run: |on| list(Path::new(&on.data).join("records")),
    },
    Attack { name: "passwords", what: "read the system's passwords", run: |_| read("/etc/shadow") },
    Attack { name: "home", what: "read the home of who runs Decalog", run: home },
    Attack { name: "own-files", what: "change its own files", run: |on| write_below(&on.tree) },
    Attack { name: "packages", what: "change its packages", run: packages },
    Attack { name: "outside", what: "write a file for others", run: |on| write_below(&on.data) },
    Attack {
        name: "supervisor",
        what: "talk to the supervisor",
        run: |on| UnixStream::connect(&on.supervisor).map(drop),
    },
    Attack { name: "abstract", what: "talk over an abstract socket", run: abstract_socket },
    Attack { name: "tcp", what: "reach the machine's network", run: tcp },
    Attack { name: "udp", what: "send packets", run: udp },
    Attack {
        name: "signal",
        what: "stop another process",
        run: |on| done(unsafe_kill(on.process)),
    },
    Attack {
        name: "environ",
        what: "read another's variables",
        run: |on| read(format!("/proc/{}/environ", on.process)),
    },
    Attack {
        name: "processes",
        what: "see other processes",
        run: |on| read(format!("/proc/{}/cmdline", on.process)),
    },
    Attack {
        name: "ptrace",
        what: "take another process over",
        run: |on| call(libc::SYS_ptrace, [0x4206, on.process as i64, 0]),
    },
    Attack {
        name: "priority",
        what: "slow another process down",
        run: |on| call(libc::SYS_setpriority, [0, on.process as i64, 19]),
    },
    Attack {
        name: "namespaces",
        what: "make namespaces",
        run: |_| call(libc::SYS_unshare, [libc::CLONE_NEWUSER as i64, 0, 0]),
    },
    Attack { name: "io-uring", what: "use io_uring", run: io_uring },
    Attack { name: "bpf", what: "load programs into the kernel", run: bpf },
];

impl Attack {
    /// Tries it. An error is the kernel's refusal.
    pub fn attempt(&self, targets: &Targets) -> io::Result<()> {
        (self.run)(targets)
    }
}

fn read(path: impl AsRef<Path>) -> io::Result<()> {
    match fs::File::open(path)?.read(&mut [0; 16])? {
        0 => Err(io::Error::other("nothing is in it")),
        _ => Ok(()),
    }
}

fn list(path: impl AsRef<Path>) -> io::Result<()> {
    fs::read_dir(path)?.next().ok_or_else(|| io::Error::other("nothing is in it"))?.map(drop)
}

fn home(_: &Targets) -> io::Result<()> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())?;
    list(user.ok_or_else(|| io::Error::other("it has none"))?.dir)
}

fn write_below(directory: &str) -> io::Result<()> {
    let path = Path::new(directory).join(format!(".decalog-attack-{}", std::process::id()));
    // A model may change the mode of what has its own user.
    let before = fs::metadata(directory)?.permissions();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory, open)?;
    let written = fs::write(&path, "here").and_then(|()| fs::remove_file(&path));
    fs::set_permissions(directory, before)?;
    written
}

fn packages(on: &Targets) -> io::Result<()> {
    match &on.environment {
        Some(environment) => write_below(environment),
        None => Err(io::Error::other("it has none")),
    }
}

fn abstract_socket(on: &Targets) -> io::Result<()> {
    UnixStream::connect_addr(&UnixAddress::from_abstract_name(&on.name)?).map(drop)
}

fn tcp(on: &Targets) -> io::Result<()> {
    TcpStream::connect(on.tcp.ok_or(io::ErrorKind::NotFound)?).map(drop)
}

fn udp(on: &Targets) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(std::time::Duration::from_millis(500)))?;
    socket.send_to(b"?", on.udp.ok_or(io::ErrorKind::NotFound)?)?;
    socket.recv(&mut [0; 8]).map(drop)
}

fn unsafe_kill(process: u32) -> i64 {
    // SAFETY: only numbers.
    unsafe { libc::syscall(libc::SYS_kill, process, libc::SIGSTOP) }
}

fn call(number: libc::c_long, arguments: [i64; 3]) -> io::Result<()> {
    let [first, second, third] = arguments;
    // SAFETY: only numbers; what they change is this process, which ends with the attempt.
    done(unsafe { libc::syscall(number, first, second, third, 0) })
}

fn io_uring(_: &Targets) -> io::Result<()> {
    let mut parameters = [0_u8; 120];
    // SAFETY: the kernel writes no more than its structure, which has this size.
    done(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) })
}

/// Makes a map of one number.
fn bpf(_: &Targets) -> io::Result<()> {
    let parameters: [u32; 4] = [2, 4, 4, 1];
    // SAFETY: the kernel reads no more than what it is told to.
    done(unsafe { libc::syscall(libc::SYS_bpf, 0, parameters.as_ptr(), 16) })
}

fn done(result: i64) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
