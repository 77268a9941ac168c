//! Dead letters of brokers that show a message only by handing it over: [`HeldLetters`].

use crate::BoxFuture;
use crate::binder::BinderError;
use crate::message::{Message, Position};
use std::fmt;
use std::sync::Arc;

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LettersOf {
    /// Those of one destination that one group gave up on.
    Group {
        /// What the group reads.
        destination: Arc<str>,
        /// The group.
        group: Arc<str>,
    },
    /// Those that lie where [`HeldLetters::place`] says.
    Place(Arc<str>),
}

impl LettersOf {
    /// Those of one destination that one group gave up on.
    pub fn group(destination: impl Into<Arc<str>>, group: impl Into<Arc<str>>) -> Self {
        Self::Group {
            destination: destination.into(),
            group: group.into(),
        }
    }
}

/// A dead letter that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLetter {
    /// What it is called in [`HeldLetters::finish`].
    pub ticket: u64,
    /// What it is called otherwise. It is made of what the letter holds, and so the same whoever looks at it and
    /// whatever lies around it; the offset says nothing of the order. Letters that are alike to the last byte share it.
    pub position: Position,
    /// The letter.
    pub message: Message,
}

/// The dead letters of a group while somebody goes through them. They are handed over one after the other; what is not
/// finished is given back when this is closed or dropped, or when the process or the connection dies. Nobody else sees a
/// letter while it is held.
///
/// It ends with the last letter that lay there when it began: what dies meanwhile is for the next one. The content of a
/// letter stays with the broker, so that going on costs next to no memory here, whatever the number of letters.
pub trait HeldLetters: Send + fmt::Debug {
    /// The destination of the [positions](HeldLetter::position).
    fn place(&self) -> &Arc<str>;

    /// The next few letters, the oldest first; none at the end. The broker is first asked here. Those of before cannot be
    /// finished any more. Ask for no more than are done with in a few minutes: brokers take back what is held for long.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`] if no letter was ever put there. The connection is lost, or letters were held
    /// for longer than the broker allows: everything that was not finished is given back.
    fn next(&mut self, at_most: usize) -> BoxFuture<'_, Result<Option<Vec<HeldLetter>>, BinderError>>;

    /// How many lay there behind those that were handed over so far, when it began.
    fn left(&self) -> u64;

    /// Takes letters away for good, of those that came last. One that the broker does not hear of any more is given back like those that are not
    /// finished.
    ///
    /// # Errors
    /// The connection is lost.
    fn finish(&mut self, tickets: Vec<u64>) -> BoxFuture<'_, Result<(), BinderError>>;

    /// Gives everything back that is not finished, and waits until the broker has heard what is.
    ///
    /// # Errors
    /// The connection is lost, so some of what is finished may come back too.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BinderError>>;
}
