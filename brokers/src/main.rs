//! `brokers up|down|status|hold`: what `cargo xtask brokers` and `cargo xtask test` start.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to the person who started it"
)]

use std::any::Any;
use std::io::{Read, Write};
use std::process::ExitCode;

use brokers::background::{self, Server};
use brokers::{BrokersError, Kafka, Layout, Options, Postgres, PostgresOptions, Rabbit, RabbitOptions};

/// Not a failure to whoever can do without: a program is not installed.
const MISSING: u8 = 3;
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, names) = match arguments.split_first() {
        Some((command, names)) => (command.as_str(), names),
        None => ("help", [].as_slice()),
    };
    let mut servers = Vec::new();
    for name in names {
        match Server::named(name) {
            Some(server) => servers.push(server),
            None => return misused(&format!("no server \"{name}\"")),
        }
    }
    let result = match command {
        "up" => up(&or(servers, &[Server::Kafka(Layout::Plain)])),
        "down" => down(&or(servers, &Server::all().collect::<Vec<_>>())),
        "status" => status(&or(servers, &Server::all().collect::<Vec<_>>())),
        "hold" => hold(&or(servers, &[Server::Kafka(Layout::Plain)])),
        "help" | "-h" | "--help" => {
            print!("{}", usage());
            Ok(())
        }
        other => return misused(&format!("no command \"{other}\"")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.is_missing_program() { MISSING } else { 1 })
        }
    }
}

fn or(given: Vec<Server>, otherwise: &[Server]) -> Vec<Server> {
    if given.is_empty() {
        otherwise.to_vec()
    } else {
        given
    }
}

fn misused(problem: &str) -> ExitCode {
    eprint!("error: {problem}\n\n{}", usage());
    ExitCode::from(MISUSED)
}

fn usage() -> String {
    let names: Vec<&str> = Server::all().map(Server::name).collect();
    format!(
        "usage: cargo xtask brokers up|down|status [{}]\n\n\
         up      starts servers in the background, waits until they are ready and says where they are\n\
         down    ends them, all when none is named, and removes their data\n\
         status  which processes there are, where they listen and whether they are ready\n",
        names.join("|")
    )
}

fn up(servers: &[Server]) -> Result<(), BrokersError> {
    for server in servers {
        let up = background::up(*server)?;
        println!(
            "{} {}",
            server.name(),
            if up.started { "is up" } else { "was up already" }
        );
        for line in up.lines {
            println!("  {line}");
        }
    }
    Ok(())
}

fn down(servers: &[Server]) -> Result<(), BrokersError> {
    for server in servers {
        let was_up = background::down(*server)?;
        println!(
            "{} {}",
            server.name(),
            if was_up { "is down" } else { "was down already" }
        );
    }
    Ok(())
}

fn status(servers: &[Server]) -> Result<(), BrokersError> {
    println!(
        "{:<16} {:<8} {:>8} {:>6}  STATE",
        "SERVER", "PROCESS", "PID", "PORT"
    );
    for server in servers {
        let found = background::status(*server);
        if found.is_empty() {
            println!("{:<16} {:<8} {:>8} {:>6}  down", server.name(), "-", "-", "-");
        }
        for process in found {
            let state = match (process.pid, process.ready) {
                (None, _) => "gone; `down` tidies up, `up` starts anew",
                (Some(_), true) => "ready",
                (Some(_), false) => "not ready",
            };
            let pid = process.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            println!(
                "{:<16} {:<8} {pid:>8} {:>6}  {state}",
                server.name(),
                process.process,
                process.port
            );
        }
    }
    Ok(())
}

/// A server that lives as long as this process.
struct Held {
    /// What tests are told of it.
    variables: Vec<(&'static str, String)>,
    _server: Box<dyn Any + Send>,
}

impl Held {
    fn start(server: Server) -> Result<Self, BrokersError> {
        match server {
            Server::Kafka(layout) => Kafka::start(Options::of(layout)).map(|kafka| Self {
                variables: vec![("TIDINGS_TEST_KAFKA", kafka.bootstrap())],
                _server: Box::new(kafka),
            }),
            Server::Rabbit(layout) => Rabbit::start(RabbitOptions::of(layout)).map(|rabbit| Self {
                variables: vec![
                    ("TIDINGS_TEST_RABBITMQ", rabbit.url()),
                    ("TIDINGS_TEST_RABBITMQ_API", rabbit.api().base().to_owned()),
                ],
                _server: Box::new(rabbit),
            }),
            Server::Postgres(layout) => Postgres::start(PostgresOptions::of(layout)).map(|postgres| Self {
                variables: vec![("TIDINGS_TEST_POSTGRES", postgres.url())],
                _server: Box::new(postgres),
            }),
            other => unreachable!("{other:?} is none of `Server::all`"),
        }
    }
}

/// Starts servers, all at the same time, for as long as standard input is open. One that cannot be had does not keep the
/// others away: tests learn from the missing variable.
fn hold(servers: &[Server]) -> Result<(), BrokersError> {
    let results: Vec<_> = std::thread::scope(|scope| {
        let starting: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(|| Held::start(*server)))
            .collect();
        let joined = starting.into_iter().map(|thread| thread.join());
        joined
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut held = Vec::new();
    let mut failed = None;
    for result in results {
        match result {
            Ok(server) => held.push(server),
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    eprintln!("error: {earlier}");
                }
            }
        }
    }
    match failed {
        Some(error) if held.is_empty() => return Err(error),
        Some(error) => eprintln!("error: {error}"),
        None => {}
    }
    for (name, value) in held.iter().flat_map(|server| &server.variables) {
        println!("{name}={value}");
    }
    println!("ready");
    // Whoever started this is gone when it can neither be written to nor read from, and that is the end anyway.
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}
