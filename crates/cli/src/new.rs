//! `decalog new`: small model directories that deploy as they are.

use std::path::Path;

use domain::manifest::Runtime;
use domain::{Code, ModelName, Problem};

use crate::Failure;

/// Runs the verb.
pub fn run(name: &str, runtime: Runtime) -> Result<(), Failure> {
    let name: ModelName = name
        .parse()
        .map_err(|error: domain::id::NameError| Problem::new(Code::BadName, error.to_string()))?;
    let directory = Path::new(name.as_str());
    if directory.exists() {
        let problem =
            Problem::new(Code::Exists, format!("{} is there already", directory.display()));
        return Err(problem.help("choose another name, or remove it first").into());
    }
    let write = |path: &str, content: &[u8]| -> Result<(), Problem> {
        let path = directory.join(path);
        let written = std::fs::create_dir_all(path.parent().unwrap_or(directory))
            .and_then(|()| std::fs::write(&path, content));
        written.map_err(|error| {
            Problem::new(Code::Failed, format!("{} cannot be written: {error}", path.display()))
        })
    };
    engine::runtime::of(runtime)
        .template()
        .iter()
        .try_for_each(|(path, content)| write(path, content))?;
    eprintln!("{name}/ is written\nNext: decalog deploy {name}");
    Ok(())
}
