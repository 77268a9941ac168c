//! The rows that the command line names, one after the other, and what becomes of their results.

use std::process::ExitCode;
use std::time::Instant;

use crate::apart::job::{Arm, Job, Outcome};
use crate::arguments::{Arguments, Command, Output};
use crate::error::BenchError;
use crate::report::Report;
use crate::{apart, arguments, child, kafka, machine, publish, rabbit, rows, sql, table};

/// What this program is started for, apart from the gates: rows, or a part of one in a process of its own.
pub(crate) fn others(arguments: &[String]) -> ExitCode {
    match arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        Some((child::MARK, rest)) => return child::run(rest),
        Some((apart::MARK, rest)) => return apart::run(rest, play),
        _ => {}
    }
    let result = match Arguments::parse(arguments) {
        Ok(Command::Help) => {
            print!("{}", arguments::usage());
            Ok(())
        }
        Ok(Command::Run(arguments)) => run(&arguments),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays an arm of a broker.
fn play(job: &Job) -> Result<Outcome, BenchError> {
    match job.arm {
        Arm::Rabbit(arm) => rabbit::play(arm, job),
        Arm::Sql(arm) => sql::play(arm, job),
        _ => kafka::play(job),
    }
}

/// Runs the rows one after the other. A row that cannot be measured is named in the table and does not hide the rest.
fn run(arguments: &Arguments) -> Result<(), BenchError> {
    if cfg!(debug_assertions) {
        eprintln!("warning: built without optimisation; nothing below is worth quoting");
    }
    if arguments.output == Output::Document {
        publish::check(arguments)?;
    }
    let scratch = machine::scratch()?;
    let setting = rows::Setting {
        length: arguments.length,
        scratch: scratch.path(),
    };
    let mut report = Report::new(machine::describe(scratch.path()), arguments.length);
    for row in &arguments.rows {
        eprintln!("==> {}: {}", row.name, row.about);
        let started = Instant::now();
        match (row.run)(&setting) {
            Ok(lines) => report.add(row, lines),
            Err(error) => {
                eprintln!("    not measured: {error}");
                report.add_unmeasured(row, &error);
            }
        }
        eprintln!("    {:.1} s", started.elapsed().as_secs_f64());
    }
    report.machine.push(("load after".into(), machine::load()));
    report.machine.push(("on Kafka".into(), kafka::CONDITIONS.into()));
    report
        .machine
        .push(("on RabbitMQ".into(), rabbit::CONDITIONS.into()));
    report
        .machine
        .push(("on PostgreSQL".into(), sql::CONDITIONS.into()));
    let table = table::render(&report);
    print!("\n{table}");
    let path = report.write(&machine::results_directory())?;
    println!("\nwritten to {}", path.display());
    if arguments.output == Output::Document {
        println!("and to {}", publish::publish(report.date(), &table)?.display());
    }
    Ok(())
}
