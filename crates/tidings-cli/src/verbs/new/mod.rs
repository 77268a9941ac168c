//! `tidings new`.

mod name;
mod templates;

use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Form, Out};
use clap::Args;
use name::ProjectName;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use templates::{TEMPLATES, Values};

/// What `new` understands.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The name of the project and of its new directory; may have a path before it
    #[arg(value_name = "NAME")]
    name: PathBuf,
    /// Depend on this checkout of Tidings and not on the published crates
    #[arg(long, value_name = "CHECKOUT")]
    path: Option<PathBuf>,
    /// Also write a Dockerfile
    #[arg(long)]
    docker: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
struct NewProject {
    name: String,
    directory: String,
    files: Vec<&'static str>,
}

/// Writes a project.
pub(crate) fn run(args: &NewArgs, out: &mut Out) -> Result<Exit, CliError> {
    let name = ProjectName::of(&args.name)?;
    let directory = &args.name;
    check_empty(directory)?;
    let tidings = match &args.path {
        Some(checkout) => dependency_on(checkout)?,
        None => format!("version = {:?}", env!("CARGO_PKG_VERSION")),
    };
    let values = Values {
        name: name.as_str(),
        module: &name.module(),
        tidings: &tidings,
    };
    let wanted = TEMPLATES
        .iter()
        .filter(|template| args.docker || !template.only_docker);
    let mut files = Vec::new();
    for template in wanted {
        write(&directory.join(template.path), &values.fill(template.text))?;
        files.push(template.path);
    }
    match out.form() {
        Form::Json => out.object(&NewProject {
            name: name.as_str().to_owned(),
            directory: directory.display().to_string(),
            files,
        })?,
        Form::Table => out.text(&format!(
            "{} is ready:\n  cd {}\n  cargo test\n  cargo run",
            name.as_str(),
            directory.display()
        ))?,
    }
    Ok(Exit::Done)
}

/// Nothing that exists is written over.
fn check_empty(directory: &Path) -> Result<(), CliError> {
    let occupied = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(CliError::io(format!("look into {}", directory.display()), error)),
    };
    if occupied {
        return Err(CliError::refused(
            format!("{} exists and is not empty", directory.display()),
            "choose another name, or empty it",
        ));
    }
    Ok(())
}

/// The dependency on a checkout, by its whole path: the project may be anywhere.
fn dependency_on(checkout: &Path) -> Result<String, CliError> {
    let facade = checkout.join("crates").join("tidings");
    let wrong = || {
        CliError::missing(
            format!(
                "{} is no checkout of Tidings: it has no crates/tidings",
                checkout.display()
            ),
            "name the directory that holds its Cargo.toml",
        )
    };
    if !facade.join("Cargo.toml").is_file() {
        return Err(wrong());
    }
    let facade = facade.canonicalize().map_err(|_| wrong())?;
    Ok(format!("path = {:?}", facade.display().to_string()))
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |error| CliError::io(format!("write {}", path.display()), error);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}
