//! What is read changes while it is read.

use super::UNDISCOVERED;
use super::connect::source_inputs;
use super::runner::Runner;
use crate::discovery::Discovering;
use crate::spec::Input;
use std::future::pending;
use tokio::sync::oneshot;

pub(super) use crate::discovery::News;

/// What was found of patterns, if there are any.
pub(super) async fn next_found(discovering: &mut Option<Discovering>) -> News {
    match discovering {
        Some(discovering) => discovering.next().await,
        None => pending().await,
    }
}

impl Runner {
    /// Somebody wants to know that what is there now is read.
    pub(super) fn discover(&self, reply: oneshot::Sender<()>) {
        if let Some(discovering) = &self.discovering {
            discovering.ask(reply);
        }
    }

    pub(super) fn on_found(&mut self, (found, reply): News) {
        if self.drain.is_some() {
            return;
        }
        match found.inputs {
            Some(inputs) => self.read_all(inputs, found.trouble),
            // Until the broker says otherwise, nothing has changed.
            None => self.board.set_obstacle(UNDISCOVERED, found.trouble),
        }
        self.dispatcher.write_status();
        if let Some(reply) = reply {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(());
        }
    }

    /// Reads all of this from now on, and nothing else.
    pub(super) fn read_all(&mut self, inputs: Vec<Input>, trouble: Option<String>) {
        let trouble = match self.reads == inputs {
            true => trouble,
            false => self.change_inputs(inputs).or(trouble),
        };
        self.board.set_obstacle(UNDISCOVERED, trouble);
    }

    /// Why it could not: then it is tried again after the next look.
    fn change_inputs(&mut self, inputs: Vec<Input>) -> Option<String> {
        // The first lanes may come at once, and have to know where their dead letters go.
        self.dispatcher.set_inputs(&inputs);
        if let Err(error) = self.source.change_inputs(&source_inputs(&inputs)) {
            tracing::warn!(subscription = %self.subscription, %error, "what is read could not be changed");
            return Some(format!("what matches now is not read yet: {error}"));
        }
        let names =
            |inputs: &[Input]| -> Vec<_> { inputs.iter().map(|one| one.destination.clone()).collect() };
        let (before, after) = (names(&self.reads), names(&inputs));
        let added = after.iter().filter(|name| !before.contains(name)).count();
        let removed = before.iter().filter(|name| !after.contains(name)).count();
        tracing::info!(subscription = %self.subscription, added, removed, total = after.len(), "what its patterns match has changed");
        self.reads.clone_from(&inputs);
        self.board.set_inputs(inputs);
        None
    }
}
