//! `tidings config`.

use crate::args::Global;
use crate::configuration::{EffectiveKey, Project, reference, schema};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Column, Out, Row};
use clap::{Args, Subcommand};
use serde::Serialize;

/// What `config` understands.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// Only what somebody set
    #[arg(long)]
    changed: bool,
    /// Only keys that contain this text
    filter: Option<String>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the reference of every key, as Markdown
    Reference,
    /// Print the JSON Schema of tidings.toml, for editors that check and complete it
    Schema,
}

/// A key with its value.
#[derive(Debug, Serialize)]
struct KeyRow {
    key: String,
    value: String,
    origin: String,
    changed: bool,
}

impl Row for KeyRow {
    const COLUMNS: &'static [Column] = &[Column::left("KEY"), Column::left("VALUE"), Column::left("FROM")];

    fn cells(&self) -> Vec<String> {
        vec![self.key.clone(), self.value.clone(), self.origin.clone()]
    }
}

/// Shows the configuration as the app reads it here.
pub(crate) fn run(global: &Global, args: &ConfigArgs, out: &mut Out) -> Result<Exit, CliError> {
    let printed = match args.what {
        Some(What::Reference) => Some(reference()),
        Some(What::Schema) => Some(schema()),
        None => None,
    };
    if let Some(text) = printed {
        out.text(&text)?;
        return Ok(Exit::Done);
    }
    if global.url.is_some() {
        return Err(CliError::usage(
            "--url replaces the configuration",
            "say tidings config without it",
        ));
    }
    let project = Project::load(global)?;
    let wanted = |key: &EffectiveKey| {
        (key.changed || !args.changed)
            && args
                .filter
                .as_ref()
                .is_none_or(|text| key.key.contains(text.as_str()))
    };
    let rows = project.effective().into_iter().filter(wanted).map(|key| KeyRow {
        key: key.key,
        value: key.value,
        origin: key.origin,
        changed: key.changed,
    });
    let rows: Vec<_> = rows.collect();
    out.rows(&rows)?;
    if rows.is_empty() {
        out.remark("nothing is set: every value is a default; tidings config reference explains them all")?;
    }
    if !project.own_sections.is_empty() {
        let names = project.own_sections.join("], [");
        out.remark(&format!(
            "[{names}] was taken for the program's own: only the program can check it"
        ))?;
    }
    Ok(Exit::Done)
}
