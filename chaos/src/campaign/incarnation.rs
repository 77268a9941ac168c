//! A process under attack, as its killer sees it: [`Incarnation`].

use super::last_words;
use crate::error::ChaosError;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The subcommand under which this program is its own victim.
pub(crate) const CHILD: &str = "child";
const SIGKILL: i32 = 9;

/// A running process. It does not outlive this value.
#[derive(Debug)]
pub(crate) struct Incarnation {
    number: u32,
    child: Child,
    words: PathBuf,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) enum End {
    Killed,
    Exited,
    /// In another way than it was told to.
    Failed(String),
}

impl End {
    pub(crate) fn failure(self) -> Option<String> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Killed | Self::Exited => None,
        }
    }
}

impl Incarnation {
    /// Starts it, with its subcommand and what it is told to do.
    pub(crate) fn start(
        program: &Path,
        (subcommand, order): (&str, &impl Serialize),
        number: u32,
        directory: &Path,
    ) -> Result<Self, ChaosError> {
        let order_text = serde_json::to_string(order).expect("an order has only plain fields");
        let words = directory.join(format!("{number:05}.stderr"));
        let stderr = File::create(&words).map_err(ChaosError::io("create", &words))?;
        let child = Command::new(program)
            .args([subcommand, &order_text])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(ChaosError::io("start", program))?;
        Ok(Self { number, child, words })
    }

    /// Waits for a process that is to be killed, and kills it at the end; and whether that was needed.
    pub(crate) fn wait(mut self, time: Duration) -> Result<(End, bool), ChaosError> {
        self.end_within(time)
    }

    fn end_within(&mut self, time: Duration) -> Result<(End, bool), ChaosError> {
        let ended = self.poll(time)?;
        if let Some(status) = ended {
            return Ok((self.judge_killed(status), false));
        }
        let status = self.kill()?;
        // It may have ended by itself just before.
        let by_us = status.signal() == Some(SIGKILL);
        Ok((self.judge_killed(status), by_us))
    }

    /// Waits for a process that is to end by itself.
    pub(crate) fn wait_for_exit(mut self, time: Duration) -> Result<(End, bool), ChaosError> {
        let Some(status) = self.poll(time)? else {
            self.kill()?;
            let failure = self.failure("did not end");
            return Ok((End::Failed(failure), true));
        };
        let end = match status.success() {
            true => End::Exited,
            false => End::Failed(self.failure(&format!("ended with {status}"))),
        };
        Ok((end, false))
    }

    /// Kills it wherever it is, also where it stands still.
    pub(crate) fn end(&mut self) -> Result<(End, bool), ChaosError> {
        self.end_within(Duration::ZERO)
    }

    /// How it has ended, if it has; by a kill, or by itself without an error.
    pub(crate) fn ended(&mut self) -> Result<Option<End>, ChaosError> {
        let status = self.poll(Duration::ZERO)?;
        Ok(status.map(|status| match status.success() {
            true => End::Exited,
            false => self.judge_killed(status),
        }))
    }

    /// Lets it stand still.
    pub(crate) fn freeze(&self) {
        self.send(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn wake(&self) {
        self.send(Signal::CONT);
    }

    /// One that has just ended is not hit, and is seen to have ended by who asks next.
    fn send(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Whether it stands still.
    pub(crate) fn is_frozen(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        // Behind the name, which may have parentheses in it.
        let state = stat
            .ok()
            .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with('T')));
        state.unwrap_or_default()
    }

    fn judge_killed(&self, status: ExitStatus) -> End {
        match status.signal() {
            Some(SIGKILL) => End::Killed,
            _ => End::Failed(self.failure(&format!("ended with {status}"))),
        }
    }

    fn failure(&self, how: &str) -> String {
        format!("incarnation {} {how}: {}", self.number, last_words(&self.words))
    }

    fn poll(&mut self, time: Duration) -> Result<Option<ExitStatus>, ChaosError> {
        let deadline = Instant::now() + time;
        loop {
            let ended = self
                .child
                .try_wait()
                .map_err(ChaosError::io("wait for", &self.words))?;
            let left = deadline.saturating_duration_since(Instant::now());
            if ended.is_some() || left.is_zero() {
                return Ok(ended);
            }
            std::thread::sleep(left.min(Duration::from_millis(3)));
        }
    }

    fn kill(&mut self) -> Result<ExitStatus, ChaosError> {
        self.child.kill().map_err(ChaosError::io("kill", &self.words))?;
        self.child.wait().map_err(ChaosError::io("wait for", &self.words))
    }
}

impl Drop for Incarnation {
    fn drop(&mut self) {
        // Of a process that has ended, nothing is left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
