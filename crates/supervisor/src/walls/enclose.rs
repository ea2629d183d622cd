//! Draws walls around this process, which then becomes the program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use domain::launch::{Sandbox, Walls};
use nix::sys::signal::Signal;

use super::{capabilities, filter, rules, tried, view};

/// The variable that holds the [`Walls`] as JSON. The program does not see it.
pub const VARIABLE: &str = "DECALOG_WALLS";
/// The variable that holds, in hexadecimal, the filter of calls that a zygote's children add.
const FILTER: &str = "DECALOG_FILTER";

/// Becomes the program, within the walls that [`VARIABLE`] describes. Returns only if that fails:
/// there is no program outside of its walls.
pub fn enclose(program: &[OsString]) -> io::Error {
    match draw(program) {
        Ok(mut command) => {
            let error = command.exec();
            tried(format!("`{}` could not be started", program[0].display()))(error)
        }
        Err(error) => tried("drawing the walls of the sandbox")(error),
    }
}

fn draw(program: &[OsString]) -> io::Result<Command> {
    let walls = std::env::var(VARIABLE).map_err(io::Error::other)?;
    let walls: Walls = serde_json::from_str(&walls)?;
    let [name, arguments @ ..] = program else {
        return Err(io::Error::other("no program is named"));
    };
    let mut command = Command::new(name);
    command.args(arguments).env_remove(VARIABLE);
    if walls.level == Sandbox::Off {
        return Ok(command);
    }
    let (directory, starter) = (std::env::current_dir()?, nix::unistd::getppid());
    if walls.level == Sandbox::Full {
        view::enter(&walls)?;
        std::env::set_current_dir(&directory).map_err(tried(directory.to_string_lossy()))?;
    }
    let narrows = walls.narrows && walls.level == Sandbox::Full;
    let walls = Walls { narrows, ..walls };
    if narrows {
        let bytes = filter::refusing_bytes(&walls)?;
        command.env(FILTER, bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    nix::sys::prctl::set_no_new_privs().map_err(tried("giving up new privileges"))?;
    rules::obey(&walls)?;
    capabilities::give_up(narrows)?;
    // Other rights end what the kernel was asked before.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if nix::unistd::getppid() != starter {
        return Err(io::Error::other("whoever started it has ended"));
    }
    filter::obey(&walls)?;
    Ok(command)
}
