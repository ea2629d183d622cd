//! What is missing on this machine, and how to install it.

use std::io;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use domain::DataDirectory;
use domain::launch::Sandbox;
use supervisor::walls::{Confinement, strongest};

use crate::tools::find;

/// Free space below which builds will soon fail, in GiB.
const FREE_GB_MIN: u64 = 2;
/// Open files that a busy server needs.
const FILES_MIN: u64 = 4_096;

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at: `uv`, `disk`, …
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Whether Decalog works without it.
    pub optional: bool,
    /// What was found.
    pub found: String,
    /// What to do, if it is not as it should be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

fn check(name: &str, optional: bool, found: Result<String, String>, remedy: &str) -> Check {
    let ok = found.is_ok();
    let remedy = if ok { String::new() } else { remedy.into() };
    Check {
        name: name.into(),
        ok,
        optional,
        found: found.unwrap_or_else(|missing| missing),
        remedy,
    }
}

/// The first line that a program prints.
fn says(program: &str, arguments: &[&str], path: &str) -> Result<String, String> {
    let program_path = find(program, path).ok_or_else(|| format!("{program} is missing"))?;
    let output =
        Command::new(program_path).args(arguments).output().map_err(|error| error.to_string())?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_string();
    if output.status.success() { Ok(line) } else { Err(line) }
}

fn named(path: &Path) -> Result<String, String> {
    let text = path.display().to_string();
    if path.exists() { Ok(text) } else { Err(format!("{text} does not exist")) }
}

/// How far models can be confined here, and what would let them be confined further.
fn sandbox() -> (Result<String, String>, String) {
    let look = || -> io::Result<Confinement> {
        let (place, secret) = (tempfile::tempdir()?, tempfile::NamedTempFile::new()?);
        let program = std::env::current_exe()?;
        Ok(strongest(&program, place.path(), secret.path(), Sandbox::Full))
    };
    match look() {
        Ok(Confinement { level: Sandbox::Full, .. }) => (Ok("full".into()), String::new()),
        Ok(Confinement { level, because }) => (Err(format!("{level} ({because})")), obstacle()),
        Err(error) => (Err(error.to_string()), String::new()),
    }
}

/// What administrators forbid most, and the command that allows it.
fn obstacle() -> String {
    let says = |setting: &str, value: &str| {
        let path = Path::new("/proc/sys").join(setting);
        std::fs::read_to_string(path).is_ok_and(|found| found.trim() == value)
    };
    if says("kernel/apparmor_restrict_unprivileged_userns", "1") {
        let program = std::env::current_exe().unwrap_or_default();
        return format!(
            "allow Decalog to make user namespaces: echo 'profile decalog {} flags=(unconfined) {{ userns, }}' | sudo tee \
             /etc/apparmor.d/decalog && sudo apparmor_parser -r /etc/apparmor.d/decalog",
            program.display()
        );
    }
    if says("kernel/unprivileged_userns_clone", "0") {
        return "sudo sysctl kernel.unprivileged_userns_clone=1".into();
    }
    if says("user/max_user_namespaces", "0") {
        return "sudo sysctl user.max_user_namespaces=15000".into();
    }
    "allow user namespaces (in a container: its seccomp profile forbids them), on Linux 6.12 or newer".into()
}

/// Looks at this machine. `uv` and `onnxruntime` are what the operator has named, if anything.
pub fn doctor(
    data: &DataDirectory,
    path: &str,
    uv: Option<&Path>,
    onnxruntime: Option<&Path>,
) -> Vec<Check> {
    let mut existing = data.root();
    while !existing.exists() {
        existing = existing.parent().unwrap_or(Path::new("/"));
    }
    let free = nix::sys::statvfs::statvfs(existing)
        .map(|stat| (stat.blocks_available() * stat.fragment_size()) >> 30);
    let free = match free {
        Ok(gb) if gb >= FREE_GB_MIN => Ok(format!("{gb} GiB free")),
        Ok(gb) => Err(format!("only {gb} GiB free")),
        Err(error) => Err(error.to_string()),
    };
    let files = match nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard >= FILES_MIN => Ok(format!("{hard} at most")),
        Ok((_, hard)) => Err(format!("only {hard} at most")),
        Err(error) => Err(error.to_string()),
    };
    let groups = supervisor::groups::survey();
    let (sandbox, sandbox_remedy) = sandbox();
    let own_uv = data.uv();
    let uv = match uv {
        Some(uv) => named(uv),
        None if own_uv.exists() => Ok(own_uv.display().to_string()),
        None => says("uv", &["--version"], path),
    };
    let own_library = data.onnxruntime();
    let onnxruntime = match onnxruntime {
        Some(library) => named(library),
        None if own_library.exists() => Ok(own_library.display().to_string()),
        None => Err("not fetched yet".to_string()),
    };
    let r_packages =
        "for (p in c('httpuv', 'jsonlite')) cat(p, as.character(packageVersion(p)), '')";
    vec![
        check("python3", false, says("python3", &["--version"], path), "apt install python3"),
        check(
            "python3 venv",
            false,
            says("python3", &["-c", "import venv, ensurepip; print('present')"], path),
            "apt install python3-venv",
        ),
        check(
            "uv",
            true,
            uv,
            "pip install uv (else Decalog installs one of its own at the first build)",
        ),
        check(
            "ONNX Runtime",
            true,
            onnxruntime,
            "Decalog fetches it with the first ONNX model; or set ORT_DYLIB_PATH to libonnxruntime.so",
        ),
        check(
            "R",
            true,
            says("Rscript", &["--version"], path),
            "apt install r-base-core (only for models in R)",
        ),
        check(
            "R packages",
            true,
            says("Rscript", &["-e", r_packages], path),
            "apt install r-cran-httpuv r-cran-jsonlite (only for models in R)",
        ),
        check("disk", false, free, "free some space, run decalog gc, or choose another --data"),
        check("open files", false, files, "raise the limit: ulimit -n 65536"),
        check(
            "control groups",
            true,
            groups,
            "run Decalog where it may make control groups, as a service of systemd with Delegate=yes",
        ),
        check("sandbox", true, sandbox, &sandbox_remedy),
    ]
}
