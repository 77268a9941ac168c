//! A shop that runs as a stranger would run it: built for release, on a free port, in a scratch directory.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::cargo::{cargo, display};
use crate::error::XtaskError;

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Longer than the shop's own deadline for draining.
const STOP_TIMEOUT: Duration = Duration::from_secs(45);
const OUTPUT_LINES_KEPT: usize = 60;

type Output = Arc<Mutex<VecDeque<String>>>;

/// A running shop; it is killed when dropped, so that an error leaves no process behind.
#[derive(Debug)]
pub(crate) struct Shop {
    child: Child,
    address: String,
    output: Output,
}

impl Shop {
    /// Starts the shop with the README's own arguments and waits until it has printed its address.
    ///
    /// The port is left to the system, so the address comes from what the shop prints: that it does is also a promise
    /// of the README. Cargo replaces itself with the program, so the child *is* the shop and gets its signals.
    pub(crate) fn start(arguments: &[String], data: &Path) -> Result<Self, XtaskError> {
        let mut command = cargo(&["run", "--quiet", "--release", "--package", "shop", "--"]);
        command
            .args(arguments)
            .args(["--http", "127.0.0.1:0", "--data"])
            .arg(data);
        let (reader, writer) = std::io::pipe().map_err(pipe_error)?;
        command
            .stdout(writer.try_clone().map_err(pipe_error)?)
            .stderr(writer);
        let child = command.spawn().map_err(|source| XtaskError::Start {
            command: display(&command),
            source,
        })?;
        // The command holds the writing end; while it lives, the reader would never see the end.
        drop(command);
        let output = Output::default();
        let (sender, receiver) = sync_channel(1);
        let kept = Arc::clone(&output);
        thread::spawn(move || follow(reader, &kept, &sender));
        let mut shop = Self {
            child,
            address: String::new(),
            output,
        };
        shop.address = shop.wait_for_address(&receiver)?;
        Ok(shop)
    }

    /// Host and port on which it answers.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks it to stop as a service manager would, and expects a clean exit.
    pub(crate) fn stop(mut self) -> Result<(), XtaskError> {
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -TERM {}", self.child.id())]);
        kill.status().map_err(|source| XtaskError::Start {
            command: display(&kill),
            source,
        })?;
        match self.wait_for_exit()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.error(format!("did not end well after SIGTERM ({status})"))),
            None => Err(self.error(format!("still runs {} s after SIGTERM", STOP_TIMEOUT.as_secs()))),
        }
    }

    /// This shop's own error, with the end of its output.
    pub(crate) fn error(&self, problem: impl Into<String>) -> XtaskError {
        let output = self
            .output
            .lock()
            .expect("the thread that reads the output does not panic");
        XtaskError::Shop {
            problem: problem.into(),
            output: output.iter().map(|line| format!("  {line}\n")).collect(),
        }
    }

    fn wait_for_address(&self, receiver: &Receiver<String>) -> Result<String, XtaskError> {
        receiver.recv_timeout(START_TIMEOUT).map_err(|_| {
            let seconds = START_TIMEOUT.as_secs();
            self.error(format!(
                "ended or printed no address like 127.0.0.1:8080 within {seconds} s"
            ))
        })
    }

    fn wait_for_exit(&mut self) -> Result<Option<ExitStatus>, XtaskError> {
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().map_err(pipe_error)? {
                return Ok(Some(status));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(None)
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // Both fail only when the shop has already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps the last lines and sends the first address.
fn follow(reader: PipeReader, output: &Output, addresses: &SyncSender<String>) {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader
        .read_until(b'\n', &mut bytes)
        .is_ok_and(|length| length > 0)
    {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        if let Some(address) = address_in(&line) {
            // Only the first is waited for; a full channel means that it is there.
            let _ = addresses.try_send(address);
        }
        let mut kept = output.lock().expect("holders of the output do not panic");
        if kept.len() == OUTPUT_LINES_KEPT {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// The first local address with a real port in a line. Port 0 is the request for a free one, echoed.
fn address_in(line: &str) -> Option<String> {
    line.match_indices("127.0.0.1:").find_map(|(start, host)| {
        let digits: String = line
            .get(start + host.len()..)?
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        let port: u16 = digits.parse().ok().filter(|port| *port != 0)?;
        Some(format!("127.0.0.1:{port}"))
    })
}

fn pipe_error(source: std::io::Error) -> XtaskError {
    XtaskError::Io {
        action: "following the shop",
        source,
    }
}

/// A directory for the shop's data, removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new directory below the system's own for temporary files.
    pub(crate) fn create() -> Result<Self, XtaskError> {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let name = format!("tidings-readme-{}-{}", std::process::id(), now.as_nanos());
        let path = std::env::temp_dir().join(name);
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(XtaskError::File { path, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("warning: {} is left behind: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_real_address_in_a_line_is_found() {
        for (line, expected) in [
            ("shop: http://127.0.0.1:41234/ is ready", Some("127.0.0.1:41234")),
            ("http = 127.0.0.1:0, now 127.0.0.1:80", Some("127.0.0.1:80")),
            ("http = 127.0.0.1:0", None),
            ("127.0.0.1:99999", None),
            ("127.0.0.1:", None),
            ("no address", None),
        ] {
            assert_eq!(address_in(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_scratch_directory_goes_with_its_owner() {
        let scratch = Scratch::create().unwrap();
        let path = scratch.path().to_owned();
        std::fs::write(path.join("segment"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
