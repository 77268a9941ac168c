//! A child process as an arm: started, listened to, told to stop.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::child::{Part, WORD};
use crate::error::BenchError;
use crate::machine;

const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// A running child; killed when dropped, so that an error leaves none behind.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    started: Instant,
}

impl Process {
    /// Starts this program once more, to play that part.
    pub(crate) fn start(part: &Part) -> Result<Self, BenchError> {
        let program = std::env::current_exe().map_err(BenchError::system("finding this program"))?;
        let mut command = Command::new(program);
        command
            .args(part.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().map_err(BenchError::system("starting a child"))?;
        let output = child.stdout.take().map(BufReader::new);
        let output = output.ok_or_else(|| BenchError::part("a child")("it has no output"))?;
        Ok(Self {
            child,
            output,
            started,
        })
    }

    /// Waits for the child's word and returns the time since it was started.
    ///
    /// # Errors
    /// That it ended without it.
    pub(crate) fn first_word(&mut self) -> Result<Duration, BenchError> {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self
                .output
                .read_line(&mut line)
                .map_err(BenchError::system("listening to a child"))?;
            if line.trim_end() == WORD {
                return Ok(self.started.elapsed());
            }
            if length == 0 {
                return Err(BenchError::part("a child")(
                    "it ended before it handled a message",
                ));
            }
        }
    }

    /// Resident memory now, in megabytes.
    pub(crate) fn resident_megabytes(&self) -> Result<f64, BenchError> {
        machine::resident_megabytes(self.child.id(), "VmRSS")
    }

    /// Sends SIGTERM and returns how long the child took to end.
    ///
    /// # Errors
    /// That it does not end, or not well.
    pub(crate) fn stop(mut self) -> Result<Duration, BenchError> {
        let asked = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|error| BenchError::system("stopping a child")(error.into()))?;
        loop {
            let ended = self
                .child
                .try_wait()
                .map_err(BenchError::system("waiting for a child"))?;
            match ended {
                Some(status) if status.success() => return Ok(asked.elapsed()),
                Some(status) => return Err(BenchError::part("a child")(format!("it ended with {status}"))),
                None if asked.elapsed() > STOP_PATIENCE => {
                    return Err(BenchError::part("a child")("it still runs 15 s after SIGTERM"));
                }
                None => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
