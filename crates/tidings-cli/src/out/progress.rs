//! How far a long piece of work is: [`Progress`].

use super::Remarks;
use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt;
use std::io::IsTerminal;

/// Bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    BinaryBytes(count).to_string()
}

/// How far a long piece of work is, on the standard error if that is a terminal. It is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Messages, letters.
    Things,
    /// Bytes.
    Bytes,
}

impl Progress {
    pub(super) fn new(doing: &'static str, total: Option<u64>, unit: Unit, remarks: Remarks) -> Self {
        let watched = remarks == Remarks::Shown && std::io::stderr().is_terminal();
        let target = if watched {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match (unit, total) {
            (Unit::Things, Some(_)) => "{msg} {bar:24} {human_pos} of {human_len}, {rate}, {eta} left",
            (Unit::Things, None) => "{msg} {human_pos}, {rate}",
            (Unit::Bytes, _) => {
                "{msg} {bar:24} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
            }
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("rate", rate));
        }
        bar.set_message(doing);
        Self { bar }
    }

    /// That many more are done.
    pub(crate) fn add(&self, done: u64) {
        self.bar.inc(done);
    }

    /// So much is done, of so much.
    pub(crate) fn set(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Another hand on the same, which takes it away when it is dropped too.
    pub(crate) fn share(&self) -> Self {
        Self {
            bar: self.bar.clone(),
        }
    }
}

/// How many a second: nobody reads the fourth digit behind the point.
fn rate(state: &ProgressState, text: &mut dyn fmt::Write) {
    // A line of progress that cannot be written is none.
    let _ = write!(text, "{:.0}/s", state.per_sec());
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
