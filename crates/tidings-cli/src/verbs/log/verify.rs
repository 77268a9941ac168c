//! `tidings log verify`.

use super::long;
use crate::args::Global;
use crate::broker::Address;
use crate::error::CliError;
use crate::exit::Exit;
use crate::names::unknown;
use crate::out::{Column, Form, Out, Row, Style, bytes, escape};
use clap::Args;
use serde::Serialize;
use tidings_embedded::{
    DirectoryReport, PartitionReport, Problem, Severity, StateReport, verify_destination, verify_directory,
};

/// What `log verify` understands.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is written, and a running app is not disturbed. It ends with 6 if something is damaged.

Example:
  tidings log verify --topic orders")]
pub(super) struct VerifyArgs {
    /// Only this channel or topic
    #[arg(long, short, value_name = "CHANNEL")]
    topic: Option<String>,
}

/// What a partition holds.
#[derive(Debug, Serialize)]
struct PartitionRow {
    topic: String,
    partition: u32,
    segments: usize,
    records: u64,
    bytes: u64,
    first: u64,
    end: u64,
    problems: u64,
}

impl Row for PartitionRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("TOPIC"),
        Column::right("PARTITION"),
        Column::right("SEGMENTS"),
        Column::right("RECORDS"),
        Column::right("SIZE"),
        Column::right("FIRST"),
        Column::right("END"),
        Column::right("PROBLEMS"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            self.segments.to_string(),
            self.records.to_string(),
            bytes(self.bytes),
            self.first.to_string(),
            self.end.to_string(),
            self.problems.to_string(),
        ]
    }
}

impl From<&PartitionReport> for PartitionRow {
    fn from(report: &PartitionReport) -> Self {
        let log = &report.log;
        Self {
            topic: report.destination.clone(),
            partition: report.partition,
            segments: log.segments,
            records: log.records,
            bytes: log.bytes,
            first: log.first_offset,
            end: log.next_offset,
            problems: log.problems.len() as u64 + log.unlisted,
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Serialize)]
pub(super) struct ProblemRow {
    file: String,
    offset: Option<u64>,
    byte: Option<u64>,
    severity: &'static str,
    problem: String,
    cure: String,
}

impl From<&Problem> for ProblemRow {
    fn from(problem: &Problem) -> Self {
        Self {
            file: problem.file.display().to_string(),
            offset: problem.offset,
            byte: problem.position,
            severity: match problem.severity {
                Severity::Harmless => "harmless",
                Severity::Damage => "damage",
            },
            problem: problem.what.clone(),
            cure: problem.cure.clone(),
        }
    }
}

impl ProblemRow {
    /// For people: where, what, and what to do, each on its line.
    pub(super) fn text(&self, out: &Out) -> String {
        let style = match self.severity {
            "damage" => Style::Error,
            _ => Style::Strong,
        };
        let byte = self.byte.map(|byte| format!(" at byte {byte}"));
        let offset = self.offset.map(|offset| format!(", record {offset}"));
        format!(
            "{} {}{}{}\n  {}\n  cure: {}",
            out.paint(style, &format!("{}:", self.severity)),
            escape(&self.file),
            byte.unwrap_or_default(),
            offset.unwrap_or_default(),
            escape(&self.problem),
            escape(&self.cure),
        )
    }
}

/// Reads everything.
pub(super) async fn run(global: &Global, args: &VerifyArgs, out: &mut Out) -> Result<Exit, CliError> {
    let address = Address::find(global, args.topic.as_deref())?;
    let root = address.directory()?;
    let topic = args
        .topic
        .as_deref()
        .map(|name| address.destination(name).to_owned());
    let only = topic.clone();
    let progress = out.byte_progress("reading");
    let verified = long(progress, "nothing was changed", move |progress| {
        let mut tell = |far: tidings_embedded::VerifyProgress| progress.set(far.bytes_done, far.bytes_total);
        match only {
            Some(topic) => verify_destination(&root, &topic, &mut tell),
            None => verify_directory(&root, &mut tell),
        }
    });
    let url = address.url();
    let report = verified.await?.map_err(|error| CliError::Broker {
        url: url.clone(),
        error,
    })?;
    if let Some(topic) = topic.filter(|topic| !report.destinations.contains(topic)) {
        let name = args.topic.as_deref().unwrap_or(&topic);
        let known = report.destinations.iter().map(String::as_str);
        let unknown = unknown("topic", name, format!("in {url}"), known);
        // Where the catalog is damaged the name may be right.
        if report.is_sound() {
            return Err(unknown);
        }
        out.remark(&unknown.to_string())?;
    }
    show(&report, out)?;
    Ok(if report.is_sound() {
        Exit::Done
    } else {
        Exit::Damaged
    })
}

fn show(report: &DirectoryReport, out: &mut Out) -> Result<(), CliError> {
    let partitions: Vec<_> = report.partitions.iter().map(PartitionRow::from).collect();
    out.rows(&partitions)?;
    let problems: Vec<_> = report.all_problems().map(ProblemRow::from).collect();
    for problem in &problems {
        match out.form() {
            Form::Json => out.object(problem)?,
            Form::Table => out.text(&problem.text(out))?,
        }
    }
    for partition in &report.partitions {
        for lost in &partition.log.lost {
            out.remark(&format!(
                "{}/{}: the messages {}..{} are lost since an earlier repair: {}",
                partition.destination, partition.partition, lost.offsets.start, lost.offsets.end, lost.reason
            ))?;
        }
    }
    let unlisted: u64 = report.partitions.iter().map(|one| one.log.unlisted).sum();
    if unlisted > 0 {
        out.remark(&format!("{unlisted} more problems are not listed"))?;
    }
    out.remark(&state(report))?;
    out.remark(verdict(report))
}

/// What was seen beside the messages.
fn state(report: &DirectoryReport) -> String {
    match (&report.owner, &report.state) {
        (Some(pid), _) => format!(
            "the process {pid} owns the directory and goes on; positions of groups can only be verified when it is \
             stopped"
        ),
        (None, StateReport::Read { positions, delayed }) => {
            format!("{positions} positions of groups and {delayed} messages for later can be read")
        }
        (None, StateReport::Missing) => "there are no positions of groups yet".to_owned(),
        (None, _) => "the positions of groups and the messages for later cannot be read".to_owned(),
    }
}

fn verdict(report: &DirectoryReport) -> &'static str {
    if !report.is_sound() {
        "damaged: tidings log repair --dry-run shows what can be saved"
    } else if report.all_problems().next().is_some() {
        "sound: nothing is lost, and the next start puts the rest right"
    } else {
        "sound"
    }
}
