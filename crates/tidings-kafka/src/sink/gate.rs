//! When a transactional producer takes messages: [`Gate`].

/// What becomes of a message that is published now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// It is sent: this producer has no transactions.
    Free,
    /// It is refused: nothing may be open.
    Shut,
    /// It begins a transaction.
    Ready,
    /// It is part of the transaction.
    Open,
    /// It is refused: the transaction is being committed.
    Ending,
}
